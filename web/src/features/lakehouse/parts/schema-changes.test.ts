import { expect, it } from "vitest";
import type { TableField } from "~/api/types";
import { schemaChanges } from "./schema-changes";

const field = (id: number, name: string, type = "long"): TableField => ({ id, name, type, required: false, key: false, doc: null });

it("names added, renamed, widened and dropped columns", () => {
  const before = [field(1, "id"), field(2, "delay", "int"), field(3, "note", "string")];
  const after = [field(1, "flight_id"), field(2, "delay"), field(4, "origin", "string")];
  expect(schemaChanges(before, after)).toEqual(["id long → flight_id long", "delay int → delay long", "+ origin string", "− note string"]);
  expect(schemaChanges(before, before)).toEqual([]);
});
