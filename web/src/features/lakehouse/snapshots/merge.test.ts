import { expect, it } from "vitest";
import type { TableDetail } from "~/api/types";
import { mergeSql } from "./merge";

it("brings over inserts, updates and deletes of a branch by the key", () => {
  const table = { namespace: "shop", table: "item", key: ["id"], schema: [{ id: 1, name: "id", type: "long", required: true }, { id: 2, name: "Name", type: "string", required: false }] } as unknown as TableDetail;
  expect(mergeSql(table, "it's", "42")).toBe(
    [
      "MERGE INTO shop.item t",
      "USING (SELECT * FROM table_changes('shop.item', 42, 'it''s', 'net') WHERE _change_type <> 'update_preimage') c",
      "ON t.id = c.id",
      "WHEN MATCHED AND c._change_type = 'delete' THEN DELETE",
      'WHEN MATCHED THEN UPDATE SET "Name" = c."Name"',
      'WHEN NOT MATCHED AND c._change_type <> \'delete\' THEN INSERT (id, "Name") VALUES (c.id, c."Name")',
    ].join("\n"),
  );
});
