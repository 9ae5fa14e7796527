// Imports: a plan of what was found in files, and runs that go on while one watches.
import { randomUUID } from "node:crypto";

const COLUMNS = [
  { name: "id", type: "int64", from_path: false, values: 1000, nulls: 0, samples: ["1", "2", "3"], reason: null },
  { name: "shop", type: "string", from_path: false, values: 1000, nulls: 0, samples: ["Berlin", "上海", "Lyon"], reason: null },
  { name: "zip", type: "string", from_path: false, values: 1000, nulls: 12, samples: ["04109", "200000", "69001"], reason: "line 2 of sales.csv: `04109` starts with 0, so the column is string" },
  { name: "price", type: "decimal(18,2)", from_path: false, values: 1000, nulls: 3, samples: ["9.90", "120.00"], reason: null },
  { name: "sold_at", type: "timestamptz", from_path: false, values: 1000, nulls: 0, samples: ["2026-01-31T12:00:00Z"], reason: null },
];
const SAMPLE = Array.from({ length: 20 }, (_, index) => [String(index + 1), ["Berlin", "上海", "Lyon"][index % 3], index % 7 === 0 ? null : "04109", (index * 1.5).toFixed(2), "2026-01-31T12:00:00Z"]);

const formatOf = (path) => (/\.parquet$/.test(path) ? "parquet" : /\.xlsx$/.test(path) ? "excel" : "csv");

export function planOf(state, body) {
  const exists = state.tables.has(body.into);
  const chosen = new Map((body.columns ?? []).map(({ name, type }) => [name, type]));
  return {
    format: body.format ?? formatOf(body.path), compression: /\.gz$/.test(body.path) ? "gzip" : "none",
    excel: formatOf(body.path) === "excel" ? { sheet: body.excel?.sheet ?? "2026", range: body.excel?.range ?? null, sheets: ["2026", "2025"] } : null,
    csv: formatOf(body.path) !== "csv" ? null : { header: body.csv?.header ?? true, delimiter: body.csv?.delimiter ?? ",", quote: '"', null: body.csv?.null ?? [""], encoding: body.csv?.encoding ?? "utf-8" },
    files: 3, bytes: 41_200_000, first_files: [{ path: "/srv/shop/data/sales.csv", bytes: 41_152 }], rows_seen: 3000,
    table: { name: body.into, exists, partition_by: body.partition_by ?? [], key: body.key ?? [] },
    columns: COLUMNS.map((column) => ({ ...column, type: chosen.get(column.name) ?? column.type })),
    sample_rows: SAMPLE,
    warnings: body.mode === "replace" && exists ? ["all rows of table `" + body.into + "` will be replaced"] : [],
  };
}

/** Runs take some seconds; one from a path that says so fails half way. */
export function startImport(state, body, principal) {
  const id = `imp-${randomUUID().slice(0, 8)}`;
  state.imports.unshift({ id, state: "running", path: body.path, into: body.into, mode: body.mode ?? "create", created_ms: Date.now(), ended_ms: null, by: principal ?? "local", progress: { files_total: 3, files_done: 0, bytes_total: 41_200_000, bytes_done: 0, rows: 0, problems: 0 }, error: null, report: null, plan: planOf(state, body), fails: /broken/.test(body.path), skips: body.on_error && body.on_error !== "fail" });
  return state.imports[0];
}

/** Moves runs on by a step each time they are asked for. */
export function importOf(one) {
  if (one.state === "running") {
    const { progress } = one;
    progress.files_done = Math.min(3, progress.files_done + 1);
    progress.bytes_done = Math.round((progress.bytes_total * progress.files_done) / 3);
    progress.rows = progress.files_done * 120_000;
    if (one.skips) progress.problems = progress.files_done;
    if (one.fails && progress.files_done === 2) Object.assign(one, { state: "failed", ended_ms: Date.now(), error: { kind: "invalid", message: "line 17 of b.csv: column `id`: `x` is not of type int64", hint: "Correct the file, or import with `skip` or as string." } });
    else if (progress.files_done === 3) one.state = "verifying";
  } else if (one.state === "verifying") {
    const hash = "9f86d081884c7d65";
    Object.assign(one, { state: "done", ended_ms: Date.now(), report: { rows_read: 360_000, rows_added: 360_000 - one.progress.problems, problems: one.progress.problems, snapshot_id: "4000000000000000001", verified: true, detail: "360,000 rows read, 360,000 rows in the table, hashes equal", hash_read: hash, hash_table: hash, columns: one.plan.columns.map(({ name }) => ({ name, hash_read: hash, hash_table: hash, equal: true })) } });
  }
  return one;
}

export const problemsOf = (one) => Array.from({ length: one.progress.problems }, (_, index) => ({ file: "/srv/shop/data/b.csv", line: 17 + index, reason: "column `id`: `x` is not of type int64", record: `x,Berlin,${index}` }));
