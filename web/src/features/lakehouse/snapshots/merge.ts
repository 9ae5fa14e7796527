import { ident, literal, tableRef, tableText } from "~/api/sql";
import type { TableDetail } from "~/api/types";

/** The statement that brings over what a branch changed since `base`, where the table went on, too. Needs a key. */
export function mergeSql(table: TableDetail, branch: string, base: string): string {
  const names = table.schema.map((field) => ident(field.name));
  const others = table.schema.filter((field) => !table.key.includes(field.name)).map((field) => ident(field.name));
  const update = others.map((name) => `${name} = c.${name}`).join(", ");
  return [
    `MERGE INTO ${tableRef(table)} t`,
    `USING (SELECT * FROM table_changes(${tableText(table)}, ${base}, ${literal(branch)}, 'net') WHERE _change_type <> 'update_preimage') c`,
    `ON ${table.key.map((name) => `t.${ident(name)} = c.${ident(name)}`).join(" AND ")}`,
    "WHEN MATCHED AND c._change_type = 'delete' THEN DELETE",
    ...(update === "" ? [] : [`WHEN MATCHED THEN UPDATE SET ${update}`]),
    `WHEN NOT MATCHED AND c._change_type <> 'delete' THEN INSERT (${names.join(", ")}) VALUES (${names.map((name) => `c.${name}`).join(", ")})`,
  ].join("\n");
}
