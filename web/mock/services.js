// What looks after tables: runs that were, switches, and one that is made when it is asked for.
const iso = (ms) => new Date(ms).toISOString();
const NOTHING = { strategy: null, cpu_ms: 0, bytes_read: 0, bytes_written: 0, rows_written: 0, files_before: 12, files_after: 12, delete_files_before: 3, delete_files_after: 3, deletes_removed: 0, files_removed: 0, bytes_freed: 0, snapshots_removed: 0, manifests_before: 0, manifests_after: 0, snapshot_id: null, message: null, hint: null };

let next = 1;
function run(table, service, ago_ms, more) {
  return { id: `01993e0c-${String((next += 1)).padStart(4, "0")}`, table, service, trigger: "automatic", state: "done", started_at: iso(Date.now() - ago_ms), duration_ms: 410, reason: "", ...NOTHING, ...more };
}

export function runsOf(state, table) {
  const name = `${table.namespace}.${table.table}`;
  table.runs ??= [
    run(name, "compact", 62_000, { strategy: "minor", reason: "17 small files of one partition (limit 12)", files_before: 29, files_after: 12, delete_files_before: 6, delete_files_after: 3, deletes_removed: 4300, bytes_read: 18_874_368, bytes_written: 9_437_184, rows_written: 120_000, cpu_ms: 355, snapshot_id: table.snapshots[0]?.id ?? null }),
    run(name, "expire", 240_000, { reason: "125 snapshots (limit 100)", snapshots_removed: 25, files_removed: 41, bytes_freed: 20_971_520, cpu_ms: 40, duration_ms: 96 }),
    run(name, "orphans", 3_600_000, { state: "nothing", reason: "a day since the last look", duration_ms: 31 }),
    run(name, "manifests", 4_000_000, { reason: "40 manifests (limit 32)", manifests_before: 40, manifests_after: 2, cpu_ms: 18, duration_ms: 44 }),
    run(name, "compact", 9_000_000, { strategy: "major", trigger: "statement", state: "failed", reason: "asked for", duration_ms: 5020, message: "could not write `data/00081.parquet`: no space left on device", hint: "Free space in the folder of the lake; the next run tries again." }),
    run(name, "statistics", 9_400_000, { reason: "20 % of the rows changed", rows_written: 6100, cpu_ms: 120, duration_ms: 140 }),
  ];
  return table.runs;
}

export function servicesOf(state) {
  return { paused: state.services_paused ?? false, concurrent_max: 1, bytes_per_minute: 1_073_741_824, bytes_left: 1_050_000_000, cpu_share: 0.5, running: [], waiting: state.tables.has("shop.item") ? [{ table: "shop.item", service: "expire", reason: "107 old snapshots", since: iso(Date.now() - 5000), benefit: 3.2, blocked_by: "another run of another table is under way" }] : [] };
}

export function analyze(state, table) {
  const name = `${table.namespace}.${table.table}`;
  const made = run(name, "statistics", 0, { trigger: "api", reason: "asked for", rows_written: table.rows, cpu_ms: 90, duration_ms: 110 });
  runsOf(state, table).unshift(made);
  return made;
}
