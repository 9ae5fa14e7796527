import { expect, it } from "vitest";
import type { Json, QueryResult } from "~/api/types";
import { changesOf, changesOfTwo, isUnknownFunction, pairsOf } from "./changes";

const answer = (names: string[], rows: Json[][]): QueryResult => ({
  query_id: "q", columns: names.map((name) => ({ name, type: "text" })), rows, row_count: rows.length, truncated: false, elapsed_ms: 1, stats: { files_total: 0, files_scanned: 0, rows_scanned: 0, bytes_scanned: 0 },
});

it("puts what happened first and counts it", () => {
  const changes = changesOf(answer(["id", "_change_ordinal", "_change_type"], [[1, 0, "insert"], [2, 1, "update_preimage"], [2, 1, "update_postimage"]]));
  expect(changes.columns.map(({ name }) => name)).toEqual(["_change_type", "id", "_change_ordinal"]);
  expect(changes.rows[0]).toEqual(["insert", 1, 0]);
  expect(changes.counts).toEqual({ insert: 1, delete: 0, update_preimage: 1, update_postimage: 1 });
  expect(pairsOf(changes).get(changes.rows[2] as Json[])).toBe(changes.rows[1]);
});

it("puts two answers together", () => {
  const changes = changesOfTwo(answer(["id"], [[1]]), answer(["id"], [[2]]));
  expect(changes.rows).toEqual([["delete", 2], ["insert", 1]]);
  expect(changes.counts).toMatchObject({ insert: 1, delete: 1 });
});

it("tells a server without the function from other faults", () => {
  expect(isUnknownFunction(new Error("table function `table_changes` not found"))).toBe(true);
  expect(isUnknownFunction(new Error("table `table_changes_of` has no rows"))).toBe(false);
});
