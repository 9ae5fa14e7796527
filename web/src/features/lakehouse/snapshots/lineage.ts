import type { Snapshot } from "~/api/types";
import { figuresOf } from "./figures";
import type { Ref } from "./refs";

/** A snapshot and those that it came from, newest first; it ends where an expired one is missing. */
export function lineOf(snapshots: Snapshot[], id: string | null): Snapshot[] {
  const known = new Map(snapshots.map((snapshot) => [snapshot.id, snapshot]));
  const line: Snapshot[] = [];
  for (let at = id === null ? undefined : known.get(id); at && line.length < snapshots.length; at = at.parent_id === null ? undefined : known.get(at.parent_id)) line.push(at);
  return line;
}

/** The commits after `from` up to `to`, newest first; undefined unless `to` came from `from`. */
export function between(snapshots: Snapshot[], from: string, to: string): Snapshot[] | undefined {
  const line = lineOf(snapshots, to);
  const end = line.findIndex((snapshot) => snapshot.id === from);
  return end < 0 ? undefined : line.slice(0, end);
}

/** Which branch each snapshot is of that the table did not come from. */
export function branchesOf(snapshots: Snapshot[], line: Set<string>, refs: Ref[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name, kind, snapshot_id } of refs) {
    if (kind !== "branch") continue;
    for (const { id } of lineOf(snapshots, snapshot_id)) if (!line.has(id) && !found.has(id)) found.set(id, name);
  }
  return found;
}

export type Standing =
  | { kind: "same" }
  /** What the branch has and the table has not; it can be published. */
  | { kind: "ahead"; commits: Snapshot[] }
  | { kind: "behind"; commits: Snapshot[] }
  /** Both went on since `base`. */
  | { kind: "apart"; base: string | undefined; commits: Snapshot[] };

/** How a named snapshot stands to the table. */
export function standingOf(snapshots: Snapshot[], current: string | null, named: string): Standing {
  if (current === named) return { kind: "same" };
  const behind = current === null ? undefined : between(snapshots, named, current);
  if (behind) return { kind: "behind", commits: behind };
  const ahead = current === null ? lineOf(snapshots, named) : between(snapshots, current, named);
  if (ahead) return { kind: "ahead", commits: ahead };
  const main = new Set(lineOf(snapshots, current).map(({ id }) => id));
  const line = lineOf(snapshots, named);
  const fork = line.findIndex(({ id }) => main.has(id));
  return { kind: "apart", base: line[fork]?.id, commits: fork < 0 ? line : line.slice(0, fork) };
}

export interface Sum {
  commits: number;
  added_rows: number;
  deleted_rows: number;
  added_files: number;
  removed_files: number;
  bytes: number;
  rewritten: number;
}

/** What several commits did together. A row that came and went is counted in both. */
export function sumOf(commits: Snapshot[]): Sum {
  const sum: Sum = { commits: commits.length, added_rows: 0, deleted_rows: 0, added_files: 0, removed_files: 0, bytes: 0, rewritten: 0 };
  for (const commit of commits) {
    const figures = figuresOf(commit);
    sum.added_rows += figures.added_rows;
    sum.deleted_rows += figures.deleted_rows;
    sum.added_files += figures.added_files;
    sum.removed_files += figures.removed_files;
    sum.bytes += figures.bytes;
    sum.rewritten += figures.rewritten ? 1 : 0;
  }
  return sum;
}

/** Two chosen snapshots as the address holds them, the older first; one alone while the other is not chosen yet. */
export function parsePair(text: string | undefined): string[] {
  return (text ?? "").split("..").filter((id) => /^\d+$/.test(id)).slice(0, 2);
}

/** Chooses one more, or takes one away. Of three the first chosen goes. The older of two comes first. */
export function togglePair(pair: string[], id: string, snapshots: Snapshot[]): string {
  const next = pair.includes(id) ? pair.filter((one) => one !== id) : [...pair, id].slice(-2);
  const place = (one: string) => snapshots.findIndex((snapshot) => snapshot.id === one);
  return next.toSorted((a, b) => place(b) - place(a)).join("..");
}
