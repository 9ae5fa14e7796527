import { ident, literal, type TableName, tableRef } from "~/api/sql";
import type { TableField } from "~/api/types";
import type { Transform } from "./draft";

/** A change of a table that a form asks for. */
export type Alteration =
  | { kind: "add"; after?: string | undefined }
  | { kind: "rename"; column: string }
  | { kind: "widen"; column: string; types: string[] }
  | { kind: "optional"; column: string }
  | { kind: "required"; column: string }
  | { kind: "drop"; column: string }
  | { kind: "move"; column: string }
  | { kind: "comment"; column: string; value: string }
  | { kind: "partition" }
  | { kind: "unpartition"; field: string }
  | { kind: "property"; name?: string | undefined; value?: string | undefined }
  | { kind: "table_name" };

/** Types that a column may become without its files being written anew. */
export function widerTypes(type: string): string[] {
  if (type === "int") return ["BIGINT"];
  if (type === "float") return ["DOUBLE"];
  const [, digits, scale] = /^decimal\((\d+), ?(\d+)\)$/.exec(type) ?? [];
  if (!digits) return [];
  return [18, 28, 38].filter((more) => more > Number(digits)).map((more) => `DECIMAL(${more}, ${scale})`);
}

export interface Entered {
  name: string;
  type: string;
  value: string;
  /** A column to stand behind; empty: in front of all; undefined: behind all. */
  after: string | undefined;
  transform: Transform;
  width: string;
  partition: string;
}

const place = (after: string | undefined) => (after === undefined ? "" : after === "" ? " FIRST" : ` AFTER ${ident(after)}`);

/** The statement of a change. */
export function alterSql(table: TableName, change: Alteration, entered: Entered): string {
  const alter = `ALTER TABLE ${tableRef(table)}`;
  switch (change.kind) {
    case "add":
      return `${alter} ADD COLUMN ${ident(entered.name.trim())} ${entered.type.trim()}${place(entered.after)}`;
    case "rename":
      return `${alter} RENAME COLUMN ${ident(change.column)} TO ${ident(entered.name.trim())}`;
    case "widen":
      return `${alter} ALTER COLUMN ${ident(change.column)} TYPE ${entered.type}`;
    case "optional":
      return `${alter} ALTER COLUMN ${ident(change.column)} DROP NOT NULL`;
    case "required":
      return `${alter} ALTER COLUMN ${ident(change.column)} SET NOT NULL`;
    case "drop":
      return `${alter} DROP COLUMN ${ident(change.column)}`;
    case "move":
      return `${alter} ALTER COLUMN ${ident(change.column)}${place(entered.after ?? "")}`;
    case "comment":
      return `COMMENT ON COLUMN ${tableRef(table)}.${ident(change.column)} IS ${entered.value.trim() === "" ? "NULL" : literal(entered.value)}`;
    case "partition":
      return `${alter} ADD PARTITION FIELD ${entered.partition}`;
    case "unpartition":
      return `${alter} DROP PARTITION FIELD ${ident(change.field)}`;
    case "property":
      return `${alter} SET (${literal(entered.name.trim())} = ${literal(entered.value)})`;
    case "table_name":
      return `${alter} RENAME TO ${ident(entered.name.trim())}`;
  }
}

/** Why a new name cannot be given, or undefined. */
export function nameFault(name: string, taken: string[]): "form.fault.name" | "form.fault.twice" | undefined {
  if (name.trim() === "") return "form.fault.name";
  return taken.includes(name.trim()) ? "form.fault.twice" : undefined;
}

/** How SQL calls a type of Iceberg, as far as forms need it. */
export function sqlType(type: TableField["type"]): string {
  const names: Record<string, string> = { long: "BIGINT", int: "INT", string: "TEXT", float: "REAL", double: "DOUBLE", binary: "BYTEA" };
  return names[type] ?? type.toUpperCase();
}
