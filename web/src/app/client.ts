import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "~/api/client";

const RETRIES_MAX = 2;

/** The cache of everything the server said. */
export const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1000,
      // Only what may pass by itself is tried again.
      retry: (failures, error) =>
        failures < RETRIES_MAX && error instanceof ApiError && ["unavailable", "exhausted"].includes(error.kind),
      refetchOnWindowFocus: true,
    },
  },
});
