import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback } from "react";

/** What the URL says about the view: filters, sort, tab. An absent key means the default. */
export type View = Record<string, string | undefined>;

/** Every value stays the text it is; the router's own reader would make numbers of some. */
export function parseView(search: string): View {
  return Object.fromEntries(new URLSearchParams(search));
}

export function stringifyView(view: Record<string, unknown>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(view)) if (value !== undefined && value !== "") search.set(key, String(value));
  const text = search.toString();
  return text ? `?${text}` : "";
}

/** The view's state in the URL. A change replaces the entry in the history unless `push` is set. */
export function useView(): [View, (change: View, options?: { push?: boolean }) => void] {
  const view = useSearch({ strict: false }) as View;
  const navigate = useNavigate();
  const set = useCallback(
    (change: View, options?: { push?: boolean }) => {
      void navigate({
        to: ".",
        search: (before: View) => {
          const after: View = { ...before, ...change };
          for (const key of Object.keys(after)) if (!after[key]) delete after[key];
          return after;
        },
        replace: !options?.push,
        resetScroll: false,
      });
    },
    [navigate],
  );
  return [view, set];
}
