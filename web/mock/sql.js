// Answers the example queries with figures computed from the real data, and other queries with rows of their table.
import { answers, data } from "./state.js";

const EXAMPLES = [
  ["now", /in_the_air/],
  ["delay_by_hour", /hour_in_new_york/],
  ["airlines", /late_percent/],
  ["per_day", /not_departed/],
  ["weather", /cancelled_percent/],
  ["made_up", /minutes_made_up/],
  ["delay_by_airport", /GROUP BY origin/],
];

export class SqlError extends Error {
  constructor(message, hint, position) {
    super(message);
    Object.assign(this, { hint, position });
  }
}

function positionOf(sql, index) {
  const lines = sql.slice(0, index).split("\n");
  return { line: lines.length, column: lines.at(-1).length + 1 };
}

const shaped = ({ columns, rows }) => ({ columns: columns.map(([name, type]) => ({ name, type })), rows });

const PLAN = (table, rows) => `SortPreservingMergeExec: [delay_minutes DESC]           rows=3     time=0.1 ms
└─ SortExec                                             rows=3     time=0.1 ms
   └─ AggregateExec: FinalPartitioned, by=[origin]      rows=3     time=0.3 ms
      └─ RepartitionExec: Hash([origin], 2)             rows=6     time=0.2 ms
         └─ AggregateExec: Partial, by=[origin]         rows=6     time=4.8 ms
            └─ TableScan: ${table}                rows=${rows}  time=9.1 ms
                 snapshot rows=336,102  hot rows=674  deleted=1,912
                 files=19 of 19  row groups pruned=4 of 38  bytes=2.1 MB`;

const CHANGES = { insert: "INSERT", update: "UPDATE", delete: "DELETE", merge: "MERGE", create: "CREATE TABLE", drop: "DROP TABLE" };

export function answer(sql, { explain, read_only: readOnly } = {}) {
  const words = sql.trim();
  const change = CHANGES[/^\w+/.exec(words)?.[0].toLowerCase()];
  if (change) {
    if (readOnly) throw new SqlError(`\`${change}\` cannot run in a read-only session`, "Leave `read_only` out of the request.", null);
    const isAboutRows = !/TABLE/.test(change);
    return { columns: isAboutRows ? [{ name: "rows", type: "int64" }] : [], rows: isAboutRows ? [[3]] : [], command: change };
  }
  if (!/^(select|with|explain|show)/i.test(words)) {
    const first = /^\s*(\S+)/.exec(sql)?.[1] ?? "";
    throw new SqlError(`expected a statement such as SELECT, found \`${first}\``, "Only queries can be run here.", positionOf(sql, sql.indexOf(first)));
  }
  const [series, first, last] = /generate_series\((\d+), (\d+)\)/i.exec(sql) ?? [];
  if (series) {
    const values = Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index);
    const squares = /square/.test(sql);
    return { columns: ["value", ...(squares ? ["square"] : [])].map((name) => ({ name, type: "bigint" })), rows: values.map((value) => (squares ? [value, value * value] : [value])), plan: explain ? "GenerateSeriesExec" : undefined };
  }
  for (const match of sql.matchAll(/\b(?:from|join)\s+([\w.]+)/gi)) {
    const [, name] = match;
    const table = name.replace(/^nyc\./, "");
    if (data[table]) continue;
    const place = match.index + match[0].length - name.length;
    throw new SqlError(`table \`${name}\` not found`, "Did you mean `nyc.flights`?", positionOf(sql, place));
  }
  const [, from = ""] = /\bfrom\s+nyc\.(\w+)/i.exec(sql) ?? [];
  const plan = explain ? PLAN(`nyc.${from || "flights"}`, "336,776") : undefined;
  const example = EXAMPLES.find(([, pattern]) => pattern.test(sql));
  if (example) return { ...shaped(answers[example[0]]), plan };
  if (!data[from]) return { columns: [{ name: "value", type: "int64" }], rows: [[1]], plan };
  if (/count\(\*\)/i.test(sql)) return { columns: [{ name: "count(*)", type: "int64" }], rows: [[data[from].total]], plan };
  const [, limit] = /\blimit\s+(\d+)/i.exec(sql) ?? [];
  const { columns, rows } = shaped(data[from]);
  const all = Array.from({ length: Math.min(Number(limit ?? 10_000), data[from].total, 100_000) }, (_, index) => rows[index % rows.length]);
  return { columns, rows: all, plan };
}

export const completion = {
  tables: Object.entries(data).map(([name, table]) => ({ name: `nyc.${name}`, columns: table.columns.map(([column, type]) => ({ name: column, type })) })),
  functions: [
    { name: "avg", signature: "avg(number)", description: "Mean of the values." },
    { name: "count", signature: "count(any)", description: "Number of rows, or of values that are not NULL." },
    { name: "date_trunc", signature: "date_trunc(part, timestamp)", description: "The time cut to a part, such as 'day'." },
    { name: "round", signature: "round(number, digits)", description: "Rounded to a number of digits." },
    { name: "approx_percentile_cont", signature: "approx_percentile_cont(number, share)", description: "The value below which a share of the values lies, about." },
  ],
  keywords: ["SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT"],
};
