import { describe, expect, it } from "vitest";
import { sortRows } from "../sort";
import { niceMax } from "../scale";
import { cellText, columnWidths, isCut, sortCells, toJson, toTsv } from "./cells";

describe("cells", () => {
  it("keeps every digit", () => {
    expect(cellText("9007199254740993")).toBe("9007199254740993");
    expect(cellText(0.1)).toBe("0.1");
    expect(cellText({ a: [1] })).toBe('{"a":[1]}');
  });

  it("sorts numbers that came as text by value, and nothing last", () => {
    const rows = [["10"], [null], ["9"]];
    expect(sortCells(rows, 0, true, false)).toEqual([["9"], ["10"], [null]]);
    expect(sortCells(rows, 0, true, true)).toEqual([["10"], ["9"], [null]]);
  });

  it("writes rows for a spreadsheet and as objects", () => {
    const columns = [{ name: "a" }, { name: "b" }];
    expect(toTsv(columns, [["x\ty", null]])).toBe("a\tb\nx y\t");
    expect(JSON.parse(toJson(columns, [[1, null]]))).toEqual([{ a: 1, b: null }]);
  });

  it("gives a column room within bounds", () => {
    const [narrow = 0, wide = 0] = columnWidths([{ name: "a", type: "int64" }, { name: "b", type: "utf8" }], [[1, "x".repeat(500)]]);
    expect(narrow).toBe(72);
    expect(wide).toBe(340);
  });

  it("knows what does not fit", () => {
    expect(isCut("x".repeat(500), 340)).toBe(true);
    expect(isCut("two\nlines", 340)).toBe(true);
    expect(isCut("EWR", 72)).toBe(false);
  });
});

describe("sortRows", () => {
  it("keeps the order of equals and puts the unknown last", () => {
    const rows = [{ n: null, id: 1 }, { n: 2, id: 2 }, { n: 1, id: 3 }, { n: 2, id: 4 }];
    expect(sortRows(rows, (row) => row.n, true).map((row) => row.id)).toEqual([2, 4, 3, 1]);
  });
});

describe("niceMax", () => {
  it("is the next round number", () => {
    expect([0.3, 1, 7, 101, 2400, 5001].map(niceMax)).toEqual([0.5, 1, 10, 200, 2500, 10_000]);
  });
});
