import { expect, it } from "vitest";
import { aboutRef, asOf, ident, literal, tableRef, tableText } from "./sql";

it("quotes names that SQL would read as something else, and only those", () => {
  expect([ident("at"), ident("order"), ident("Name"), ident('a"b'), ident("2x"), ident("价格")]).toEqual(["at", '"order"', '"Name"', '"a""b"', '"2x"', '"价格"']);
});

it("writes texts and tables", () => {
  const name = { namespace: "shop", table: "Item" };
  expect(literal("it's")).toBe("'it''s'");
  expect(tableRef(name)).toBe('shop."Item"');
  expect(aboutRef(name, "refs")).toBe('shop."Item$refs"');
  expect(tableText(name)).toBe("'shop.Item'");
  expect(asOf(name, "4000000000000000001")).toBe('shop."Item" FOR VERSION AS OF 4000000000000000001');
  expect(asOf(name, "before sale")).toBe(`shop."Item" FOR VERSION AS OF 'before sale'`);
});
