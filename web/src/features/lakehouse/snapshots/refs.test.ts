import { expect, it } from "vitest";
import { refFault, refsOf } from "./refs";

const REFS = refsOf({
  query_id: "q", row_count: 2, truncated: false, elapsed_ms: 1, stats: { files_total: 0, files_scanned: 0, rows_scanned: 0, bytes_scanned: 0 },
  columns: [{ name: "name", type: "text" }, { name: "type", type: "text" }, { name: "snapshot_id", type: "bigint" }],
  rows: [["audit", "BRANCH", "4000000000000000001"], ["main", "BRANCH", "4000000000000000002"]],
});

it("reads names, and leaves out the table itself", () => {
  expect(REFS).toEqual([{ name: "audit", kind: "branch", snapshot_id: "4000000000000000001" }]);
});

it("says which names cannot be given", () => {
  expect(["", " ", "audit", "main", "2026", "it's", "2026-01", "年末 1", "a/b.c"].map((name) => refFault(name, REFS))).toEqual(["empty", "empty", "taken", "taken", "number", "letters", undefined, undefined, undefined]);
});
