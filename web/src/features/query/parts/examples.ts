import type { Completion } from "~/api/types";
import type { MessageKey, Params } from "~/i18n";

export interface Example {
  title: MessageKey;
  params?: Params;
  sql: string;
  /** Columns by table that it needs; it is not offered without them. */
  needs?: Record<string, string[]>;
}

const FLIGHTS = "flights.flights";

/** Questions to the flights of the demo. */
const EXAMPLES: Example[] = [
  {
    title: "sql.example.delay_by_airport",
    needs: { [FLIGHTS]: ["origin", "dep_delay"] },
    sql: `SELECT origin,
       count(*) AS flights,
       round(avg(dep_delay), 1) AS delay_minutes
FROM flights.flights
GROUP BY origin
ORDER BY delay_minutes DESC`,
  },
  {
    title: "sql.example.delay_by_hour",
    needs: { [FLIGHTS]: ["hour", "dep_delay"] },
    sql: `SELECT hour,
       round(avg(dep_delay), 1) AS mean_delay,
       round(approx_percentile_cont(dep_delay, 0.9), 1) AS delay_90
FROM flights.flights
WHERE dep_delay IS NOT NULL
GROUP BY hour
ORDER BY hour`,
  },
  {
    title: "sql.example.airlines",
    needs: { [FLIGHTS]: ["carrier", "arr_delay"], "flights.airlines": ["carrier", "name"] },
    sql: `SELECT a.name AS airline,
       count(*) AS flights,
       round(100.0 * avg(CASE WHEN f.arr_delay > 15 THEN 1 ELSE 0 END), 1) AS late_percent
FROM flights.flights f
JOIN flights.airlines a ON a.carrier = f.carrier
WHERE f.arr_delay IS NOT NULL
GROUP BY a.name
ORDER BY late_percent DESC`,
  },
  {
    title: "sql.example.per_day",
    needs: { [FLIGHTS]: ["time_hour", "dep_delay"] },
    sql: `SELECT date_trunc('day', time_hour) AS day,
       count(*) AS flights,
       count(*) - count(dep_delay) AS not_departed
FROM flights.flights
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: "sql.example.weather",
    needs: { [FLIGHTS]: ["origin", "time_hour", "dep_delay"], "flights.weather": ["origin", "time_hour", "visib"] },
    sql: `SELECT round(w.visib) AS visibility_miles,
       count(*) AS flights,
       round(avg(f.dep_delay), 1) AS delay_minutes
FROM flights.flights f
JOIN flights.weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
WHERE f.dep_delay IS NOT NULL
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: "sql.example.destinations",
    needs: { [FLIGHTS]: ["dest", "distance", "air_time"] },
    sql: `SELECT dest,
       count(*) AS flights,
       avg(distance) AS miles,
       avg(air_time) AS minutes
FROM flights.flights
WHERE air_time IS NOT NULL
GROUP BY dest
ORDER BY flights DESC
LIMIT 50`,
  },
];

const TABLES_MAX = 4;

/** The examples that the tables at hand can answer, and for other tables how to look into them. */
export function examplesFor(completion: Completion | undefined): Example[] {
  if (!completion) return [];
  const columns = new Map(completion.tables.map((table) => [table.name, new Set(table.columns.map((column) => column.name))]));
  const fitting = EXAMPLES.filter((example) =>
    Object.entries(example.needs ?? {}).every(([table, names]) => names.every((name) => columns.get(table)?.has(name))),
  );
  const others = completion.tables
    .filter((table) => fitting.length === 0 || !table.name.startsWith("flights."))
    .slice(0, TABLES_MAX)
    .map((table) => ({
      title: "sql.example.newest" as const,
      params: { table: table.name },
      sql: `SELECT *\nFROM ${table.name}\nLIMIT 100`,
    }));
  return [...fitting, ...others];
}
