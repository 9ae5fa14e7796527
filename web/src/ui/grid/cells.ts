export type CellValue = string | number | boolean | null | CellValue[] | { [key: string]: CellValue };

const NUMERIC = /^(u?int|float|double|decimal|bigint|smallint|tinyint|long|real|number)/i;
const TEMPORAL = /^(date|time|timestamp)/i;

export const isNumericType = (type: string): boolean => NUMERIC.test(type);
export const isTemporalType = (type: string): boolean => TEMPORAL.test(type);

/** A value as one line of text. Numbers keep every digit: a result is evidence, not prose. */
export function cellText(value: CellValue | undefined): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

const ISO_TIME = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)/;

/** As `cellText`, with a space between day and time, which is what is read; a copy keeps the text as it came. */
export function shownText(value: CellValue | undefined, type: string): string {
  const text = cellText(value);
  return isTemporalType(type) ? text.replace(ISO_TIME, "$1 $2") : text;
}

/** What a character of a cell takes, and what stands around its text. */
const CHAR_PX = 7.6;
const PADDING_PX = 26;
const WIDTH_MIN = 72;
const WIDTH_MAX = 340;
const SAMPLE_ROWS = 100;

/** A width in pixels for each column, from its name and its first rows. */
export function columnWidths(columns: { name: string; type: string }[], rows: CellValue[][]): number[] {
  return columns.map((column, index) => {
    let chars = Math.max(column.name.length + 2, column.type.length * 0.85);
    for (const row of rows.slice(0, SAMPLE_ROWS)) chars = Math.max(chars, cellText(row[index]).length);
    return Math.round(Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, chars * CHAR_PX + PADDING_PX)));
  });
}

/** Whether a text is cut off in a cell of a width; what breaks lines always is. */
export function isCut(text: string, width: number): boolean {
  return text.includes("\n") || text.length * CHAR_PX + PADDING_PX > width + CHAR_PX;
}

/** Sorts by a column: numbers by value also where they came as text, empty last. */
export function sortCells(rows: CellValue[][], column: number, numeric: boolean, descending: boolean): CellValue[][] {
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const left = a[column] ?? null;
    const right = b[column] ?? null;
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    if (numeric) return sign * (Number(left) - Number(right));
    const x = cellText(left);
    const y = cellText(right);
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
}

/** Rows as text with tabs, as spreadsheets paste it. */
export function toTsv(columns: { name: string }[], rows: CellValue[][]): string {
  const clean = (text: string) => text.replace(/[\t\r\n]+/g, " ");
  return [columns.map((c) => c.name), ...rows.map((row) => row.map(cellText))]
    .map((line) => line.map(clean).join("\t"))
    .join("\n");
}

/** Rows as JSON objects. */
export function toJson(columns: { name: string }[], rows: CellValue[][]): string {
  const objects = rows.map((row) => Object.fromEntries(columns.map((column, index) => [column.name, row[index] ?? null])));
  return JSON.stringify(objects, null, 2);
}
