// The answers of the API, made from the mock's state.
import { fieldsOf, partitionOf } from "./lake.js";
import { appliedOffset, data, hotBytes, keysOf } from "./state.js";

const iso = (ms) => new Date(ms).toISOString();

export function sourceSummary(state, source) {
  const topics = source.tables.map((table) => state.topics.get(`${source.name}.${table}`)).filter(Boolean);
  const rows_per_s = topics.reduce((sum, topic) => sum + topic.rows_per_s, 0);
  const revision = state.resources.find((one) => one.kind === "source" && one.name === source.name)?.revision ?? 1;
  const { name, type, title, state_since, message, hint, restarts, dead_letters } = source;
  const troubled = source.state === "backing_off" || source.state === "failed";
  return {
    name, type, title, state: source.state, state_since, message, hint: troubled ? hint : null, restarts, dead_letters, rows_per_s,
    rows_total: topics.reduce((sum, topic) => sum + topic.rows, 0),
    lag_ms: source.state === "streaming" ? 38 + Math.round(Math.random() * 30) : null,
    lag_bytes: null,
    last_row_at: topics.length > 0 ? (rows_per_s > 0 ? iso(Date.now() - 300) : source.state_since) : null,
    tables: source.tables.length,
    topics: topics.map((topic) => topic.name),
    snapshot: null,
    revision,
    running_revision: revision,
  };
}

export function sourceDetail(state, source) {
  return {
    ...sourceSummary(state, source),
    spec: source.spec,
    history: source.history,
    rates: state.rates.map(({ at_ms, rows_per_s }) => ({ at_ms, rows_per_s: source.tables.length > 0 ? rows_per_s : 0 })),
    per_table: source.tables.map((table) => {
      const topic = state.topics.get(`${source.name}.${table}`);
      return { table, topic: topic.name, lakehouse_table: topic.name, rows_total: topic.rows, rows_per_s: topic.rows_per_s, lag_ms: topic.rows_per_s > 0 ? 41 : null, phase: topic.rows_per_s > 0 ? "streaming" : "done" };
    }),
  };
}

export function topicSummary(topic) {
  const { name, partitions, rows, bytes, low_offset, rows_per_s, last_append_at, retention, source } = topic;
  return { name, partitions, rows, bytes, low_offset, high_offset: rows, rows_per_s, last_append_at, retention, source, consumers: 1 };
}

const columnsOf = (table) => (data[table]?.columns ?? []).map(([name, type]) => ({ name, type }));

export function topicDetail(topic) {
  const each = Math.floor(topic.rows / topic.partitions);
  const partitions = Array.from({ length: topic.partitions }, (_, partition) => partition);
  return {
    ...topicSummary(topic),
    schema: columnsOf(topic.table).map((column) => ({ ...column, nullable: !keysOf(topic.table).includes(column.name) })),
    key: keysOf(topic.table),
    partition_list: partitions.map((partition) => ({ partition, low_offset: 0, high_offset: each, bytes: Math.floor(topic.bytes / topic.partitions), segments: 3 })),
    consumer_list: partitions.map((partition) => ({ consumer: `table ${topic.name}`, partition, offset: each - topic.rows_per_s, lag_rows: topic.rows_per_s, committed_at: iso(Date.now() - 800) })),
  };
}

export function topicRows(topic, offset, limit) {
  const columns = columnsOf(topic.table);
  const rows = data[topic.table]?.rows ?? [];
  const high = Math.floor(topic.rows / topic.partitions);
  const from = Math.max(0, offset ?? high - limit);
  const kinds = topic.table === "flights" ? ["insert", "update_before", "update_after", "insert", "update_before", "update_after", "delete"] : ["insert"];
  return {
    columns,
    low_offset: 0,
    high_offset: high,
    rows: Array.from({ length: Math.max(0, Math.min(limit, high - from)) }, (_, index) => {
      const at = from + index;
      const row = rows[at % rows.length] ?? [];
      return { offset: at, at: iso(Date.now() - (high - at) * 2), kind: kinds[at % kinds.length], values: Object.fromEntries(columns.map((column, place) => [column.name, row[place] ?? null])) };
    }),
  };
}

export function tableSummary(state, table) {
  const topic = state.topics.get(table.topic);
  const moving = (topic?.rows_per_s ?? 0) > 0;
  return {
    name: `${table.namespace}.${table.table}`, namespace: table.namespace, table: table.table, rows: table.rows, files: table.files, delete_files: table.delete_files, bytes: table.bytes,
    snapshot_id: table.current ?? table.snapshots[0]?.id ?? null, snapshots: table.snapshots.length, last_commit_at: table.snapshots[0]?.at ?? null,
    freshness_ms: moving ? 46 + Math.round(Math.random() * 40) : null,
    hot_rows: table.hot_rows, hot_bytes: table.hot_rows === null ? null : hotBytes(table), committed_offset: table.committed_offset,
    source: table.source, key: table.key ?? keysOf(table.table), ...(table.waits ? { state: "failed", ...table.waits } : { state: "ok", message: null }),
  };
}

export function tableDetail(state, table) {
  const topic = state.topics.get(table.topic);
  const schema = fieldsOf(table);
  const applied = topic && (table.waits ? table.committed_offset : appliedOffset(topic));
  return {
    ...tableSummary(state, table),
    schema,
    partition_spec: table.partition_spec ?? (table.table === "flights" ? [{ name: "scheduled_departure_month", transform: "month", source: "scheduled_departure" }] : []),
    location: `file:///srv/tarn/data/warehouse/${table.namespace}/${table.table}`,
    format_version: 2,
    properties: table.properties ?? { "write.format.default": "parquet", "write.parquet.compression-codec": "zstd", "tarn.freshness": "1m", "tarn.schema.changes": JSON.stringify([{ at_ms: state.started_ms, change: "column `air_time` was added (integer)", outcome: "added here" }]) },
    snapshot_list: table.snapshots,
    schema_history: table.schema_history ?? [{ schema_id: 0, at: iso(state.started_ms), fields: schema.slice(0, -1) }, { schema_id: 1, at: iso(state.started_ms + 60_000), fields: schema }],
    topic: table.topic,
    applied_offset: applied ?? null,
    applied_high_offset: topic ? topic.rows : null,
  };
}

export function tableFiles(table) {
  const folder = (partition) => (partition ? `${partition}/` : "");
  return Array.from({ length: table.files }, (_, index) => {
    const deletes = index < table.delete_files;
    const month = `2013-${String((index % 12) + 1).padStart(2, "0")}`;
    const partition = table.table === "flights" ? `scheduled_departure_month=${month}` : partitionOf(table, index);
    // Some are large, many small, and the older the more is deleted.
    const weight = 0.2 + ((index * 37) % 100) / 60;
    const rows = Math.round((table.rows / table.files) * weight);
    return {
      path: `data/${folder(partition)}${String(index).padStart(5, "0")}-${deletes ? "deletes" : "data"}.parquet`,
      content: deletes ? "position_deletes" : "data",
      rows: deletes ? 1840 : rows,
      bytes: deletes ? 14_200 : Math.round((table.bytes / table.files) * weight),
      partition,
      deleted_rows: deletes ? 0 : Math.round(rows * (((index * 13) % 50) / 100)),
    };
  });
}

export function overview(state) {
  const sources_list = [...state.sources.values()].map((source) => sourceSummary(state, source));
  const tables_list = [...state.tables.values()].map((table) => tableSummary(state, table));
  const counted = (...states) => sources_list.filter((source) => states.includes(source.state)).length;
  return {
    started_at: iso(state.started_ms),
    uptime_ms: Date.now() - state.started_ms,
    sources: { running: counted("streaming", "snapshot", "idle"), paused: counted("paused"), failed: counted("failed", "backing_off"), starting: counted("starting") },
    rows_per_s: state.rows_per_s ?? 0,
    rows_total: sources_list.reduce((sum, source) => sum + source.rows_total, 0),
    bytes_per_s: (state.rows_per_s ?? 0) * 71,
    queries_per_s: state.queries_per_s,
    query_p50_ms: state.queries_per_s > 0 ? 8.4 : 0,
    query_p99_ms: state.queries_per_s > 0 ? 61 + Math.round(Math.random() * 12) : 0,
    memory_bytes: 412_000_000 + Math.round(Math.random() * 9_000_000),
    disk_bytes: [...state.topics.values(), ...state.tables.values()].reduce((sum, one) => sum + one.bytes, 0),
    disk_free_bytes: 214_000_000_000,
    freshness_ms_max: Math.max(...tables_list.map((table) => table.freshness_ms ?? 0)) || null,
    rates: state.rates,
    sources_list,
    tables_list,
    faults: sources_list
      .filter((source) => source.state === "backing_off" || source.state === "failed")
      .map((source) => ({ at: source.state_since, severity: source.state === "failed" ? "error" : "warning", subject_kind: "source", subject: source.name, message: source.message, hint: source.hint, action: { label_key: "restart", href: `/sources/${source.name}` } })),
  };
}
