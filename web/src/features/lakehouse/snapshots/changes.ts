import type { Json, QueryResult } from "~/api/types";

export type ChangeType = "insert" | "delete" | "update_preimage" | "update_postimage";
export const CHANGE_TYPES: ChangeType[] = ["insert", "delete", "update_preimage", "update_postimage"];

const TYPE = "_change_type";
/** Ours, so that the row's own columns come next to the word that says what became of it. */
const LAST = ["_change_ordinal", "_commit_snapshot_id"];

export interface Changes {
  columns: QueryResult["columns"];
  rows: Json[][];
  truncated: boolean;
  counts: Record<ChangeType, number>;
}

/** Puts what happened to a row first and when it happened last. */
export function changesOf(result: QueryResult): Changes {
  const places = result.columns.map((column, place) => ({ place, rank: column.name === TYPE ? 0 : LAST.includes(column.name) ? 2 : 1 })).toSorted((a, b) => a.rank - b.rank);
  const rows = result.rows.map((row) => places.map(({ place }) => row[place] ?? null));
  const counts = Object.fromEntries(CHANGE_TYPES.map((type) => [type, rows.filter((row) => row[0] === type).length])) as Changes["counts"];
  return { columns: places.flatMap(({ place }) => result.columns[place] ?? []), rows, truncated: result.truncated, counts };
}

/** Puts the rows of two answers together, as if they had been asked for by what happened to them. */
export function changesOfTwo(added: QueryResult, deleted: QueryResult): Changes {
  const rows = [...deleted.rows.map((row) => ["delete", ...row]), ...added.rows.map((row) => ["insert", ...row])];
  return {
    columns: [{ name: TYPE, type: "text" }, ...added.columns],
    rows,
    truncated: added.truncated || deleted.truncated,
    counts: { insert: added.rows.length, delete: deleted.rows.length, update_preimage: 0, update_postimage: 0 },
  };
}

/** A row after an update with the row before it, which comes right before. */
export function pairsOf({ rows }: Changes): Map<Json[], Json[]> {
  const pairs = new Map<Json[], Json[]>();
  rows.forEach((row, index) => {
    const before = rows[index - 1];
    if (row[0] === "update_postimage" && before?.[0] === "update_preimage") pairs.set(row, before);
  });
  return pairs;
}

/** Whether the server does not know the function that tells changes of rows. */
export const isUnknownFunction = (error: unknown): boolean => error instanceof Error && /table_changes.*(not found|unknown|not exist)/i.test(error.message);
