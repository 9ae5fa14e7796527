import type { Completion } from "~/api/types";
import type { MessageKey, Params } from "~/i18n";

export interface Example {
  title: MessageKey;
  params?: Params;
  sql: string;
  /** Columns by table that it needs; it is not offered without them. */
  needs?: Record<string, string[]>;
}

const FLIGHTS = "nyc.flights";

/** Questions to the flights of the demo; `examples/flights/README.md` has more. */
const EXAMPLES: Example[] = [
  {
    title: "sql.example.delay_by_airport",
    needs: { [FLIGHTS]: ["origin", "dep_delay"] },
    sql: `SELECT origin,
       count(*) AS flights,
       round(avg(dep_delay), 1) AS delay_minutes
FROM nyc.flights
GROUP BY origin
ORDER BY delay_minutes DESC`,
  },
  {
    title: "sql.example.now",
    needs: { [FLIGHTS]: ["origin", "departure", "arrival"] },
    sql: `SELECT origin,
       count(*) FILTER (WHERE departure IS NULL) AS waiting,
       count(*) FILTER (WHERE departure IS NOT NULL AND arrival IS NULL) AS in_the_air,
       count(arrival) AS landed,
       max(departure) AS last_departure
FROM nyc.flights
GROUP BY origin
ORDER BY origin`,
  },
  {
    title: "sql.example.airlines",
    needs: { [FLIGHTS]: ["carrier", "dep_delay"], "nyc.airlines": ["carrier", "name"] },
    sql: `SELECT a.name AS airline,
       count(*) AS flights,
       round(avg(f.dep_delay), 1) AS avg_delay_minutes,
       round(100.0 * count(*) FILTER (WHERE f.dep_delay > 15) / nullif(count(f.dep_delay), 0), 1) AS late_percent
FROM nyc.flights AS f
JOIN nyc.airlines AS a ON a.carrier = f.carrier
GROUP BY a.name
ORDER BY late_percent DESC`,
  },
  {
    title: "sql.example.delay_by_hour",
    needs: { [FLIGHTS]: ["scheduled_departure", "dep_delay"] },
    sql: `SELECT date_part('hour', scheduled_departure AT TIME ZONE 'America/New_York') AS hour_in_new_york,
       count(*) AS flights,
       median(dep_delay) AS median_delay,
       round(avg(dep_delay), 1) AS avg_delay_minutes
FROM nyc.flights
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: "sql.example.per_day",
    needs: { [FLIGHTS]: ["scheduled_departure", "departure"] },
    sql: `SELECT date_trunc('day', scheduled_departure) AS day,
       count(*) AS flights,
       count(*) - count(departure) AS not_departed
FROM nyc.flights
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: "sql.example.weather",
    needs: { [FLIGHTS]: ["origin", "scheduled_departure", "dep_delay"], "nyc.weather": ["origin", "time_hour", "visib", "precip"] },
    sql: `SELECT CASE WHEN w.visib < 1 THEN '1 fog: below 1 mile'
            WHEN w.visib < 5 THEN '2 haze: 1 to 5 miles'
            WHEN w.precip > 0 THEN '3 rain or snow, clear view'
            ELSE '4 dry and clear' END AS weather,
       count(*) AS flights,
       round(avg(f.dep_delay), 1) AS avg_delay_minutes,
       round(100.0 * count(*) FILTER (WHERE f.departure IS NULL) / count(*), 1) AS cancelled_percent
FROM nyc.flights AS f
JOIN nyc.weather AS w
  ON w.origin = f.origin AND w.time_hour = date_trunc('hour', f.scheduled_departure)
GROUP BY 1
ORDER BY 1`,
  },
  {
    title: "sql.example.made_up",
    needs: { [FLIGHTS]: ["distance", "dep_delay", "arr_delay", "arrival"] },
    sql: `SELECT CAST(floor(distance / 500.0) * 500 AS BIGINT) AS miles_from,
       count(*) AS flights,
       round(avg(dep_delay), 1) AS late_at_departure,
       round(avg(arr_delay), 1) AS late_at_arrival,
       round(avg(dep_delay - arr_delay), 1) AS minutes_made_up
FROM nyc.flights
WHERE arrival IS NOT NULL
GROUP BY 1
ORDER BY 1`,
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
    .filter((table) => fitting.length === 0 || !table.name.startsWith("nyc."))
    .slice(0, TABLES_MAX)
    .map((table) => ({
      title: "sql.example.newest" as const,
      params: { table: table.name },
      sql: `SELECT *\nFROM ${table.name}\nLIMIT 100`,
    }));
  return [...fitting, ...others];
}
