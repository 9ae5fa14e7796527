import { aboutRef, ident, literal, type TableName } from "~/api/sql";
import type { Json, QueryResult, TableField } from "~/api/types";

/** What the files know of a column. Rows that are marked as deleted are still in it. */
export interface ColumnStatistics {
  /** Undefined where no file counted them. */
  nulls: number | undefined;
  rows: number;
  /** Texts may be cut off, so that they are only near. */
  least: string | null;
  most: string | null;
  bytes: number;
}

/** More columns than this make a statement that takes longer than it is worth. */
export const COLUMNS_MAX = 120;

/** How a bound must be read to be compared by value; other types compare as the texts that they are written as. */
function castOf(type: string): string | undefined {
  if (type === "int" || type === "long") return "BIGINT";
  if (type === "float" || type === "double") return "DOUBLE";
  return /^decimal\(\d+, ?\d+\)$/.test(type) ? type.toUpperCase() : undefined;
}

/** Whether files keep the smallest and the largest value of such a column. */
const isOrdered = (type: string) => !/^(struct|list|map|binary|fixed|variant)/.test(type);

/** One statement over all files, five values per column in the columns' order. */
export function statisticsSql(name: TableName, fields: TableField[]): string {
  const values = fields.slice(0, COLUMNS_MAX).flatMap((field) => {
    const key = literal(field.name);
    const cast = castOf(field.type);
    const bound = (side: string) => (cast ? `CAST(${side}[${key}] AS ${cast})` : `${side}[${key}]`);
    return [
      `count(value_counts[${key}])`,
      // A file that does not know the column is older than it: all its rows have null there.
      `sum(CASE WHEN value_counts[${key}] IS NULL THEN record_count ELSE CAST(null_value_counts[${key}] AS BIGINT) END)`,
      isOrdered(field.type) ? `min(${bound("lower_bounds")})` : "NULL",
      isOrdered(field.type) ? `max(${bound("upper_bounds")})` : "NULL",
      `sum(CAST(column_sizes[${key}] AS BIGINT))`,
    ];
  });
  const list = ["sum(record_count)", ...values].map((value, index) => `${value} AS ${ident(`v${index}`)}`);
  return `SELECT ${list.join(", ")} FROM ${aboutRef(name, "files")} WHERE content = 0`;
}

const text = (value: Json | undefined): string | null => (value === null || value === undefined ? null : String(value));

/** Reads the answer to `statisticsSql`, by the id of the column. */
export function statisticsOf(result: QueryResult, fields: TableField[]): Map<number, ColumnStatistics> {
  const [row = []] = result.rows;
  const rows = Number(row[0] ?? 0);
  return new Map(
    fields.slice(0, COLUMNS_MAX).map((field, index) => {
      const [files, nulls, least, most, bytes] = row.slice(1 + index * 5, 6 + index * 5);
      return [field.id, { nulls: Number(files ?? 0) === 0 ? undefined : Number(nulls ?? 0), rows, least: text(least), most: text(most), bytes: Number(bytes ?? 0) }];
    }),
  );
}
