import type { Column, Json } from "~/api/types";
import { isNumericType, isTemporalType } from "~/ui/grid/cells";

export type ChartType = "bar" | "line" | "scatter";

export interface ChartChoice {
  type: ChartType;
  x: string;
  y: string[];
}

export const CHART_TYPES: ChartType[] = ["bar", "line", "scatter"];
/** More points than this only make a chart slower, not clearer. */
export const POINTS_MAX = 5000;
const SERIES_MAX = 6;
const BARS_MAX = 60;
/** How many times larger one measure may be than another on the same axis. */
const SCALES_MAX = 20;

/** The measures that can share a scale with the last one, which a query is usually about. */
function comparable(columns: Column[], rows: Json[][], names: string[]): string[] {
  const peak = (name: string) => {
    const at = columns.findIndex((column) => column.name === name);
    return Math.max(...rows.map((row) => Math.abs(Number(row[at] ?? 0)) || 0));
  };
  const last = names.at(-1);
  if (last === undefined) return [];
  const scale = peak(last);
  return names.filter((name) => name === last || (peak(name) <= scale * SCALES_MAX && peak(name) * SCALES_MAX >= scale));
}

/** The chart that fits a result: a line over time, bars over names, points for two measures. */
export function suggestChart(columns: Column[], rows: Json[][]): ChartChoice | null {
  const numeric = columns.filter((column) => isNumericType(column.type));
  const time = columns.find((column) => isTemporalType(column.type));
  const name = columns.find((column) => !isNumericType(column.type) && !isTemporalType(column.type));
  if (numeric.length === 0 || rows.length === 0) return null;
  const names = numeric.map((column) => column.name).slice(0, SERIES_MAX);
  if (time) return { type: "line", x: time.name, y: comparable(columns, rows, names) };
  if (name) return { type: rows.length > BARS_MAX ? "line" : "bar", x: name.name, y: comparable(columns, rows, names) };
  const [first, ...others] = names;
  if (first === undefined || others.length === 0) return null;
  // A first column that only grows, such as an hour or a month, is an axis and not a measure.
  const at = columns.findIndex((column) => column.name === first);
  const grows = rows.every((row, index) => index === 0 || Number(row[at]) > Number(rows[index - 1]?.[at]));
  return grows ? { type: rows.length > BARS_MAX ? "line" : "bar", x: first, y: comparable(columns, rows, others) } : { type: "scatter", x: first, y: others.slice(0, 1) };
}

/** What the URL chose, as far as the result has it, over what is suggested. */
export function chosenChart(
  suggested: ChartChoice | null,
  columns: Column[],
  view: { chart?: string | undefined; x?: string | undefined; y?: string | undefined },
): ChartChoice | null {
  const known = new Set(columns.map((column) => column.name));
  const type = CHART_TYPES.find((one) => one === view.chart) ?? suggested?.type;
  const x = view.x && known.has(view.x) ? view.x : suggested?.x;
  const y = view.y ? view.y.split(",").filter((name) => known.has(name)) : (suggested?.y ?? []);
  if (!type || !x || y.length === 0) return null;
  return { type, x, y };
}

/** Points of one series: x as it is, y as a number. */
export function seriesPoints(columns: Column[], rows: Json[][], x: string, y: string): [Json, number | null][] {
  const xAt = columns.findIndex((column) => column.name === x);
  const yAt = columns.findIndex((column) => column.name === y);
  return rows.slice(0, POINTS_MAX).map((row) => {
    const value = row[yAt] ?? null;
    return [row[xAt] ?? null, value === null ? null : Number(value)];
  });
}
