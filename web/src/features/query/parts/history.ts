import { useSyncExternalStore } from "react";

export interface PastQuery {
  sql: string;
  at_ms: number;
  state: "done" | "failed";
  elapsed_ms: number;
  rows: number;
  message?: string;
}

const STORED = "tarn-sql-history";
const KEPT_MAX = 100;
const TEXT_MAX = 20_000;
const listeners = new Set<() => void>();

function isPast(value: unknown): value is PastQuery {
  return typeof value === "object" && value !== null && "sql" in value && typeof value.sql === "string" && "at_ms" in value;
}

/** Reads what was stored; anything unreadable is dropped. */
export function parseHistory(text: string | null): PastQuery[] {
  try {
    const value: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value.filter(isPast) : [];
  } catch {
    return [];
  }
}

/** Puts a query first; the same text is kept once. */
export function addQuery(past: PastQuery[], query: PastQuery): PastQuery[] {
  if (query.sql.length > TEXT_MAX) return past;
  return [query, ...past.filter((one) => one.sql !== query.sql)].slice(0, KEPT_MAX);
}

let past = parseHistory(localStorage.getItem(STORED));

export function remember(query: PastQuery): void {
  past = addQuery(past, query);
  try {
    localStorage.setItem(STORED, JSON.stringify(past));
  } catch {
    // The browser's store is full or switched off; the list lives until the page is closed.
  }
  for (const listener of listeners) listener();
}

export function usePastQueries(): PastQuery[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => past,
  );
}
