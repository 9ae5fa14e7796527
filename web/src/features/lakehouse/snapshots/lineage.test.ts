import { expect, it } from "vitest";
import type { Snapshot } from "~/api/types";
import { figuresOf, kindOf, writerOf } from "./figures";
import { between, branchesOf, lineOf, parsePair, standingOf, sumOf, togglePair } from "./lineage";

const snapshot = (id: string, parent_id: string | null, summary: Record<string, string> = {}, operation = "overwrite"): Snapshot => ({
  id, parent_id, operation, at: "2026-01-31T12:00:00Z", added_rows: Number(summary["added-records"] ?? 0), deleted_rows: Number(summary["added-position-deletes"] ?? 0), added_files: 0, total_rows: 0, summary,
});

it("counts a delete once where its delete file was written anew", () => {
  const figures = figuresOf(snapshot("3", "2", { "added-delete-files": "21", "removed-delete-files": "21", "added-position-deletes": "600", "removed-position-deletes": "500", "added-files-size": "37473", "removed-files-size": "37361", "total-records": "5500", "total-position-deletes": "600" }));
  expect(figures).toEqual({ rewritten: false, added_rows: 0, deleted_rows: 100, added_files: 21, removed_files: 21, bytes: 112, live_rows: 4900 });
});

it("takes a compaction for no change of rows", () => {
  const figures = figuresOf(snapshot("3", "2", { "added-data-files": "1", "deleted-data-files": "9", "added-records": "100", "deleted-records": "120", "removed-position-deletes": "20", "total-records": "100", "total-position-deletes": "0" }, "replace"));
  expect(figures).toMatchObject({ rewritten: true, added_rows: 0, deleted_rows: 0, added_files: 1, removed_files: 9, live_rows: 100 });
});

it("names the writer", () => {
  expect(writerOf(snapshot("1", null, { "engine-name": "tarn", "engine-version": "0.1.0" }))).toBe("tarn 0.1.0");
  expect(writerOf(snapshot("1", null, { "spark.app.id": "local-1" }))).toBe("spark");
  expect(writerOf(snapshot("1", null))).toBeUndefined();
});

// 1 <- 2 <- 4 is the table; 3 came from 2 and was left behind.
const ALL = [snapshot("4", "2", { "added-data-files": "1", "added-records": "5" }), snapshot("3", "2"), snapshot("2", "1", { "added-position-deletes": "2", "added-data-files": "1", "added-records": "7" }), snapshot("1", "0")];

it("follows where a snapshot came from, up to the first that expired", () => {
  expect(lineOf(ALL, "4").map(({ id }) => id)).toEqual(["4", "2", "1"]);
  expect(lineOf(ALL, null)).toEqual([]);
});

it("tells what lies between two, and when they are not of one line", () => {
  expect(between(ALL, "1", "4")?.map(({ id }) => id)).toEqual(["4", "2"]);
  expect(between(ALL, "3", "4")).toBeUndefined();
  expect(sumOf(between(ALL, "1", "4") ?? [])).toMatchObject({ commits: 2, added_rows: 12, deleted_rows: 2 });
});

it("keeps two chosen ones in the address, the older first", () => {
  expect(parsePair("1..4")).toEqual(["1", "4"]);
  expect(parsePair("x..4'")).toEqual([]);
  expect(togglePair([], "2", ALL)).toBe("2");
  expect(togglePair(["2"], "4", ALL)).toBe("2..4");
  expect(togglePair(["4"], "1", ALL)).toBe("1..4");
  expect(togglePair(["1", "4"], "2", ALL)).toBe("2..4");
  expect(togglePair(["1", "4"], "1", ALL)).toBe("4");
});

it("says of which branch a snapshot is that the table did not come from", () => {
  const line = new Set(["4", "2", "1"]);
  expect([...branchesOf(ALL, line, [{ name: "audit", kind: "branch", snapshot_id: "3" }, { name: "old", kind: "tag", snapshot_id: "3" }])]).toEqual([["3", "audit"]]);
  expect(branchesOf(ALL, line, [{ name: "kept", kind: "tag", snapshot_id: "3" }]).size).toBe(0);
});

it("tells how a name stands to the table", () => {
  const kinds = (current: string | null, named: string) => {
    const { kind, ...more } = standingOf(ALL, current, named);
    return [kind, ..."commits" in more ? [more.commits.map(({ id }) => id).join()] : [], ...("base" in more ? [more.base] : [])];
  };
  expect(kinds("4", "4")).toEqual(["same"]);
  expect(kinds("2", "4")).toEqual(["ahead", "4"]);
  expect(kinds("4", "1")).toEqual(["behind", "4,2"]);
  expect(kinds("4", "3")).toEqual(["apart", "3", "2"]);
});

it("calls a commit by what became of rows, not by what its writer calls it", () => {
  expect(kindOf(snapshot("5", "4", { "added-position-deletes": "3", "added-data-files": "0" }))).toBe("delete");
  expect(kindOf(snapshot("5", "4", { "added-records": "3" }))).toBe("append");
  expect(kindOf(snapshot("5", "4", { "added-records": "3", "added-position-deletes": "3", "added-data-files": "1" }))).toBe("overwrite");
  expect(kindOf(snapshot("5", "4", {}, "fancy"))).toBeUndefined();
});
