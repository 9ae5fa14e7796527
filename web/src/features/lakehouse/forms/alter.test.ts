import { expect, it } from "vitest";
import { alterSql, type Entered, nameFault, sqlType, widerTypes } from "./alter";

const TABLE = { namespace: "shop", table: "item" };
const ENTERED: Entered = { name: "Stock", type: "INT", value: "it's", after: undefined, transform: "bucket", width: "4", partition: "bucket(4, id)" };

it("writes each change as one statement", () => {
  expect([
    alterSql(TABLE, { kind: "add" }, ENTERED),
    alterSql(TABLE, { kind: "add" }, { ...ENTERED, after: "order" }),
    alterSql(TABLE, { kind: "add" }, { ...ENTERED, after: "" }),
    alterSql(TABLE, { kind: "rename", column: "name" }, ENTERED),
    alterSql(TABLE, { kind: "widen", column: "price", types: [] }, { ...ENTERED, type: "DECIMAL(18, 2)" }),
    alterSql(TABLE, { kind: "optional", column: "name" }, ENTERED),
    alterSql(TABLE, { kind: "required", column: "name" }, ENTERED),
    alterSql(TABLE, { kind: "drop", column: "name" }, ENTERED),
    alterSql(TABLE, { kind: "move", column: "name" }, { ...ENTERED, after: "id" }),
    alterSql(TABLE, { kind: "comment", column: "name", value: "" }, ENTERED),
    alterSql(TABLE, { kind: "comment", column: "name", value: "x" }, { ...ENTERED, value: " " }),
    alterSql(TABLE, { kind: "partition" }, ENTERED),
    alterSql(TABLE, { kind: "unpartition", field: "at_month" }, ENTERED),
    alterSql(TABLE, { kind: "property" }, { ...ENTERED, name: "comment" }),
    alterSql(TABLE, { kind: "table_name" }, { ...ENTERED, name: "article" }),
  ].map((sql) => sql.replace("ALTER TABLE shop.item ", ""))).toEqual([
    'ADD COLUMN "Stock" INT', 'ADD COLUMN "Stock" INT AFTER "order"', 'ADD COLUMN "Stock" INT FIRST', 'RENAME COLUMN name TO "Stock"', "ALTER COLUMN price TYPE DECIMAL(18, 2)", "ALTER COLUMN name DROP NOT NULL", "ALTER COLUMN name SET NOT NULL", "DROP COLUMN name",
    "ALTER COLUMN name AFTER id", "COMMENT ON COLUMN shop.item.name IS 'it''s'", "COMMENT ON COLUMN shop.item.name IS NULL", "ADD PARTITION FIELD bucket(4, id)", "DROP PARTITION FIELD at_month", "SET ('comment' = 'it''s')", "RENAME TO article",
  ]);
});

it("widens only what can be read as the wider type", () => {
  expect(widerTypes("int")).toEqual(["BIGINT"]);
  expect(widerTypes("decimal(20, 4)")).toEqual(["DECIMAL(28, 4)", "DECIMAL(38, 4)"]);
  expect(widerTypes("string")).toEqual([]);
  expect(sqlType("decimal(10, 2)")).toBe("DECIMAL(10, 2)");
  expect(sqlType("long")).toBe("BIGINT");
});

it("refuses a name that is none or taken", () => {
  expect(nameFault(" ", [])).toBe("form.fault.name");
  expect(nameFault("id", ["id"])).toBe("form.fault.twice");
  expect(nameFault("id2", ["id"])).toBeUndefined();
});
