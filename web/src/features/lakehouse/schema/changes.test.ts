import { expect, it } from "vitest";
import type { TableField } from "~/api/types";
import { schemaChanges } from "./changes";

const field = (id: number, name: string, type = "long", more: Partial<TableField> = {}): TableField => ({ id, name, type, required: false, key: false, doc: null, ...more });

it("names added, renamed, widened and dropped columns", () => {
  const before = [field(1, "id"), field(2, "delay", "int"), field(3, "note", "string")];
  const after = [field(1, "flight_id"), field(2, "delay"), field(4, "origin", "string")];
  expect(schemaChanges(before, after)).toEqual([
    { kind: "renamed", column: "flight_id", before: "id", after: "flight_id" },
    { kind: "type", column: "delay", before: "int", after: "long" },
    { kind: "added", column: "origin", after: "string" },
    { kind: "dropped", column: "note", before: "string" },
  ]);
  expect(schemaChanges(before, before)).toEqual([]);
});

it("tells where a column came in between, and that one may be null now", () => {
  const before = [field(1, "id"), field(2, "title", "string", { required: true }), field(3, "at")];
  const after = [field(1, "id"), field(2, "title", "string", { doc: "of the shop" }), field(4, "memo", "string"), field(3, "at")];
  expect(schemaChanges(before, after)).toEqual([
    { kind: "optional", column: "title" },
    { kind: "doc", column: "title", after: "of the shop" },
    { kind: "added", column: "memo", after: "string", before: "title" },
  ]);
});

it("calls moved only what left its place, not what gave way", () => {
  const [a, b, c, d] = [field(1, "a"), field(2, "b"), field(3, "c"), field(4, "d")];
  expect(schemaChanges([a, b, c, d], [d, a, b, c])).toEqual([{ kind: "moved", column: "d" }]);
  expect(schemaChanges([a, b, c, d], [a, c, b, d])).toEqual([{ kind: "moved", column: "b", before: "c" }]);
});
