import type { Json } from "~/api/types";

export interface Shown {
  columns: { name: string }[];
  rows: Json[][];
}

export interface Difference {
  /** Rows that were not there before. */
  fresh: Set<Json[]>;
  /** Rows that were there with other values, with those. */
  changed: Map<Json[], Json[]>;
}

const NOTHING: Difference = { fresh: new Set(), changed: new Map() };

/** What is different from one look at a table to the next. Without a key a changed row cannot be told from a new one. */
export function differenceOf(before: Shown | undefined, now: Shown, key: string[]): Difference {
  if (!before || before.columns.map(({ name }) => name).join("\n") !== now.columns.map(({ name }) => name).join("\n")) return NOTHING;
  const places = key.map((name) => now.columns.findIndex((column) => column.name === name));
  const named = (row: Json[]) => JSON.stringify(places.length > 0 && !places.includes(-1) ? places.map((place) => row[place]) : row);
  const old = new Map(before.rows.map((row) => [named(row), row]));
  const difference: Difference = { fresh: new Set(), changed: new Map() };
  for (const row of now.rows) {
    const was = old.get(named(row));
    if (!was) difference.fresh.add(row);
    else if (JSON.stringify(was) !== JSON.stringify(row)) difference.changed.set(row, was);
  }
  return difference;
}

export interface Sample {
  at_ms: number;
  offset: number;
}

/** Keeps some seconds of what was seen; an offset that goes back starts anew. */
export function withSample(samples: Sample[], next: Sample, window_ms: number): Sample[] {
  const last = samples.at(-1);
  if (last && next.offset < last.offset) return [next];
  return [...samples.filter((sample) => next.at_ms - sample.at_ms <= window_ms), next];
}

/** Changes per second over the samples, or undefined while there are too few. */
export function rateOf(samples: Sample[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || last.at_ms - first.at_ms < 500) return undefined;
  return ((last.offset - first.offset) * 1000) / (last.at_ms - first.at_ms);
}
