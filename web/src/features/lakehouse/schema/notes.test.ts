import { expect, it } from "vitest";
import { notesOf } from "./notes";

it("reads what became of changes at the source, the newest first", () => {
  const note = { at_ms: 1, change: "column `note` was added (string)", outcome: "added here" };
  expect(notesOf({ "tarn.schema.changes": JSON.stringify([note, { ...note, at_ms: 2 }, { at_ms: "x" }]) })).toEqual([{ ...note, at_ms: 2 }, note]);
  expect(notesOf({ "tarn.schema.changes": "{" })).toEqual([]);
  expect(notesOf({})).toEqual([]);
});
