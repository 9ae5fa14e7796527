import { Skeleton, Stack } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useT } from "~/i18n";
import { ErrorNote } from "./ErrorNote";
import { isMissing, Missing, type Place } from "./Missing";

interface Props<T> {
  query: UseQueryResult<T>;
  children: (data: T) => ReactNode;
  /** Height of what will come, in lines. */
  lines?: number;
  /** Where else to look if there is no such thing. */
  place?: Place;
}

/** What the server said, or that it is awaited, or why it did not come. */
export function Load<T>({ query, children, lines = 5, place }: Props<T>) {
  const t = useT();
  // Also where it was there a moment ago: what is gone must not look alive.
  if (place && isMissing(query.error)) return <Missing error={query.error} place={place} />;
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) return <ErrorNote error={query.error} onRetry={() => void query.refetch()} />;
  return (
    <Stack gap={10} p="md" role="status" aria-label={t("common.loading")}>
      {Array.from({ length: lines }, (_, line) => (
        <Skeleton key={line} height={14} width={`${92 - ((line * 17) % 40)}%`} />
      ))}
    </Stack>
  );
}
