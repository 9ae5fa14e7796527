import { ident, literal } from "~/api/sql";
import type { MessageKey } from "~/i18n";

export interface ColumnDraft {
  id: number;
  name: string;
  type: string;
  required: boolean;
  key: boolean;
}

export const TRANSFORMS = ["identity", "year", "month", "day", "hour", "bucket", "truncate"] as const;
export type Transform = (typeof TRANSFORMS)[number];

export interface PartitionDraft {
  id: number;
  transform: Transform;
  /** Id of the column. */
  column: number;
  /** Of `bucket` and `truncate`. */
  width: string;
}

export interface PropertyDraft {
  id: number;
  name: string;
  value: string;
}

export interface TableDraft {
  namespace: string;
  table: string;
  columns: ColumnDraft[];
  partitions: PartitionDraft[];
  properties: PropertyDraft[];
}

export const TYPES = ["BOOLEAN", "INT", "BIGINT", "REAL", "DOUBLE", "DECIMAL(18, 2)", "TEXT", "BYTEA", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "UUID", "TEXT[]", "STRUCT<a INT, b TEXT>", "MAP<TEXT, INT>"];
export const PROPERTIES = ["comment", "write.parquet.compression-codec", "write.target-file-size-bytes", "history.expire.min-snapshots-to-keep", "history.expire.max-snapshot-age-ms", "tarn.orphan-age-ms", "tarn.services.enabled"];

/** Faults by the place where they were entered, such as `column.3.name`. */
export type Faults = Record<string, MessageKey>;

const base = (type: string) => type.trim().toUpperCase().replace(/\(.*$/, "").trim();
const isTime = (type: string) => ["TIMESTAMP", "TIMESTAMPTZ"].includes(base(type));

/** Transforms that a column of a type can have. */
export function transformsOf(type: string): Transform[] {
  const name = base(type);
  if (isTime(type)) return ["identity", "year", "month", "day", "hour", "bucket"];
  if (name === "DATE") return ["identity", "year", "month", "day", "bucket"];
  if (["INT", "INTEGER", "BIGINT", "DECIMAL", "NUMERIC", "TEXT", "VARCHAR", "STRING", "BYTEA"].includes(name)) return ["identity", "bucket", "truncate"];
  if (["UUID", "TIME"].includes(name)) return ["identity", "bucket"];
  return /[[<]|^(ARRAY|LIST|STRUCT|ROW|MAP)\b/i.test(type.trim()) ? [] : ["identity"];
}

/** A partition as SQL writes it. */
export const partitionSql = (transform: Transform, column: string, width: string): string => {
  if (transform === "identity") return ident(column);
  return transform === "bucket" || transform === "truncate" ? `${transform}(${width.trim()}, ${ident(column)})` : `${transform}(${ident(column)})`;
};

/** A value and what a transform makes of it, as an example; undefined where there is none worth telling. */
export function exampleOf(transform: Transform, type: string, width: string): [string, string] | undefined {
  const name = base(type);
  const time = name === "DATE" ? "2026-01-31" : "2026-01-31 12:34:56";
  const count = Number(width);
  const text = ["TEXT", "VARCHAR", "STRING"].includes(name);
  const cuts: Partial<Record<Transform, number>> = { year: 4, month: 7, day: 10, hour: 13 };
  const cut = cuts[transform];
  if (cut !== undefined) return [time, time.slice(0, cut)];
  if (transform === "identity") return text ? ["eu", "eu"] : ["42", "42"].map((value) => (isTime(type) || name === "DATE" ? time : value)) as [string, string];
  if (!Number.isInteger(count) || count < 1) return undefined;
  if (transform === "bucket") return [text ? "eu" : "42", `0 … ${count - 1}`];
  return text ? ["Shanghai", [..."Shanghai"].slice(0, count).join("")] : ["1234", String(1234 - (1234 % count))];
}

function columnFaults(columns: ColumnDraft[]): Faults {
  const faults: Faults = {};
  const seen = new Set<string>();
  for (const { id, name, type } of columns) {
    const text = name.trim();
    if (text === "") faults[`column.${id}.name`] = "form.fault.name";
    else if (seen.has(text)) faults[`column.${id}.name`] = "form.fault.twice";
    seen.add(text);
    if (type.trim() === "") faults[`column.${id}.type`] = "form.fault.type";
  }
  return faults;
}

/** What is wrong with a draft. An empty answer says nothing about what the server thinks. */
export function faultsOf(draft: TableDraft, known: string[]): Faults {
  const faults = columnFaults(draft.columns);
  if (draft.namespace.trim() === "") faults.namespace = "form.fault.namespace";
  if (draft.table.trim() === "") faults.table = "form.fault.name";
  else if (known.includes(`${draft.namespace.trim()}.${draft.table.trim()}`)) faults.table = "form.fault.taken";
  if (draft.columns.length === 0) faults.columns = "form.fault.columns";
  const seen = new Set<string>();
  for (const one of draft.partitions) {
    const column = draft.columns.find(({ id }) => id === one.column);
    const place = `partition.${one.id}`;
    const sign = `${one.column}/${one.transform}`;
    if (!column) faults[place] = "form.fault.partition_column";
    else if (!transformsOf(column.type).includes(one.transform)) faults[place] = "form.fault.transform";
    else if (seen.has(sign)) faults[place] = "form.fault.partition_twice";
    else if ((one.transform === "bucket" || one.transform === "truncate") && !/^[1-9]\d{0,8}$/.test(one.width.trim())) faults[place] = "form.fault.width";
    seen.add(sign);
  }
  const names = new Set<string>();
  for (const { id, name } of draft.properties) {
    if (name.trim() === "") faults[`property.${id}`] = "form.fault.name";
    else if (names.has(name.trim())) faults[`property.${id}`] = "form.fault.twice";
    names.add(name.trim());
  }
  return faults;
}

const NAMELESS = "…";

/** The statements that make the table, in their order. */
export function createSql(draft: TableDraft, namespaces: string[]): string[] {
  // Where no name was entered yet, its place is shown.
  const namespace = draft.namespace.trim() || NAMELESS;
  const table = draft.table.trim() || NAMELESS;
  const keys = draft.columns.filter((column) => column.key);
  const lines = draft.columns.map((column) => {
    const key = column.key && keys.length === 1 ? " PRIMARY KEY" : "";
    return `${ident(column.name.trim())} ${column.type.trim()}${column.required && !column.key ? " NOT NULL" : ""}${key}`;
  });
  if (keys.length > 1) lines.push(`PRIMARY KEY (${keys.map((column) => ident(column.name.trim())).join(", ")})`);
  const partitions = draft.partitions.map((one) => partitionSql(one.transform, draft.columns.find(({ id }) => id === one.column)?.name.trim() ?? "", one.width));
  const properties = draft.properties.map(({ name, value }) => `${literal(name.trim())} = ${literal(value)}`);
  const create = [
    `CREATE TABLE ${ident(namespace)}.${ident(table)} (\n  ${lines.join(",\n  ")}\n)`,
    ...(partitions.length > 0 ? [`PARTITIONED BY (${partitions.join(", ")})`] : []),
    ...(properties.length > 0 ? [`WITH (${properties.join(", ")})`] : []),
  ].join("\n");
  return namespaces.includes(namespace) || namespace === NAMELESS ? [create] : [`CREATE SCHEMA IF NOT EXISTS ${ident(namespace)}`, create];
}
