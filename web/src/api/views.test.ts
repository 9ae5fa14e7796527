import { expect, it } from "vitest";
import { dropViewSql, type IcebergView, replaceViewSql, typeText, viewOf } from "./views";

const version = (id: number, sql: string, dialect = "tarn") => ({ "version-id": id, "schema-id": 0, "timestamp-ms": id * 1000, summary: { "engine-name": "tarn", "engine-version": "0.1.0" }, representations: [{ type: "sql", sql: "SELECT `a`", dialect: "spark" }, { type: "sql", sql, dialect }], "default-namespace": ["shop"] });
const VIEW: IcebergView = {
  metadata: {
    "current-version-id": 2,
    versions: [version(1, "SELECT 1"), version(2, "SELECT 2")],
    schemas: [{ "schema-id": 0, fields: [{ id: 1, name: "Total", type: "long", doc: "in euros" }] }],
    properties: { comment: "sums" },
  },
};

it("reads a view of the catalog: its own words first, its versions from the newest", () => {
  const view = viewOf(VIEW);
  expect(view?.current).toEqual({ id: 2, at_ms: 2000, sql: "SELECT 2", dialect: "tarn", writer: "tarn 0.1.0", namespace: "shop", fields: [{ id: 1, name: "Total", type: "long", doc: "in euros" }] });
  expect([view?.comment, view?.versions.map(({ id }) => id)]).toEqual(["sums", [2, 1]]);
  expect(viewOf({ metadata: { ...VIEW.metadata, versions: [version(2, "SELECT 2", "trino")] } })?.current.dialect).toBe("spark");
  expect(viewOf({ metadata: { ...VIEW.metadata, "current-version-id": 9 } })).toBeUndefined();
});

it("writes nested types in one line", () => {
  expect(typeText({ type: "list", element: { type: "struct", fields: [{ name: "a", type: "int" }, { name: "b", type: { type: "map", key: "string", value: "date" } }] } })).toBe("list<struct<a: int, b: map<string, date>>>");
});

it("writes the statements of a view, with names quoted where they need it", () => {
  expect(replaceViewSql("shop", "Sums", { fields: [{ id: 1, name: "Total", type: "long", doc: undefined }], sql: "SELECT 2" })).toBe('CREATE OR REPLACE VIEW shop."Sums" ("Total") AS\nSELECT 2');
  expect(dropViewSql("shop", "sums")).toBe("DROP VIEW shop.sums");
});
