import { useSyncExternalStore } from "react";
import type { Overview } from "./types";

export interface RateSample {
  at_ms: number;
  value: number;
}

/** Five minutes at one event a second. */
const SAMPLES_MAX = 300;
const NONE: RateSample[] = [];
const rates = new Map<string, RateSample[]>();
const listeners = new Set<() => void>();

/** Remembers how fast each source was, so that its page can draw the last minutes. */
export function recordRates(overview: Overview, at_ms: number): void {
  for (const source of overview.sources_list) {
    const before = rates.get(source.name) ?? NONE;
    rates.set(source.name, [...before, { at_ms, value: source.rows_per_s }].slice(-SAMPLES_MAX));
  }
  const living = new Set(overview.sources_list.map((source) => source.name));
  for (const name of rates.keys()) if (!living.has(name)) rates.delete(name);
  for (const listener of listeners) listener();
}

/** Rows per second of a source since the console was opened, at most five minutes. */
export function useSourceRates(name: string): RateSample[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => rates.get(name) ?? NONE,
  );
}
