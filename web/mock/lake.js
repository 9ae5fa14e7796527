// Tables that SQL made, rows about tables, and the procedures on snapshots.
import { acceptChange, viewAnswer } from "./relations.js";
import { SqlError } from "./sql.js";
import { audit, data, keysOf } from "./state.js";

const newId = () => String(4_000_000_000_000_000 + Math.floor(Math.random() * 9e14));
const iso = (ms) => new Date(ms).toISOString();

/** Columns of a table as `{ id, name, type (of Iceberg), required, key, doc }`. */
export function fieldsOf(table) {
  if (table.fields) return table.fields;
  const icebergType = { int64: "long", float64: "double", utf8: "string", timestamp: "timestamptz" };
  const keys = keysOf(table.table);
  return (data[table.table]?.columns ?? []).map(([name, type], index) => ({ id: index + 1, name, type: icebergType[type] ?? type, required: keys.includes(name), key: keys.includes(name), doc: null }));
}

const SQL_TYPES = { long: "bigint", int: "int", string: "text", double: "double", boolean: "boolean", timestamptz: "timestamp with time zone" };
export const sqlColumns = (fields) => fields.map(({ name, type }) => ({ name, type: SQL_TYPES[type] ?? type }));

function snapshot(parent, at_ms, operation, added, deleted, files, removed = 0) {
  const before = parent ? Number(parent.summary["total-records"]) : 0;
  const dead = parent ? Number(parent.summary["total-position-deletes"]) : 0;
  const rewritten = operation === "replace";
  const summary = {
    "added-data-files": String(files), "added-records": String(rewritten ? before - dead : added), "added-position-deletes": String(deleted), "added-files-size": String(files * 41_000 + deleted * 9),
    ...(removed > 0 ? { "deleted-data-files": String(removed), "deleted-records": String(before), "removed-position-deletes": String(dead), "removed-files-size": String(removed * 44_000) } : {}),
    "total-files-size": String(Number(parent?.summary["total-files-size"] ?? 0) + files * 41_000_000 - removed * 30_000_000),
    "total-records": String(rewritten ? before - dead : before + added), "total-position-deletes": String(rewritten ? 0 : dead + deleted), "engine-name": operation === "append" && !parent ? "duckdb" : "tarn", "engine-version": operation === "append" && !parent ? "1.4.2" : "0.1.0",
  };
  return { id: newId(), parent_id: parent?.id ?? null, at: iso(at_ms), operation, added_rows: Number(summary["added-records"]), deleted_rows: deleted, added_files: files, total_rows: Number(summary["total-records"]), summary };
}

/** `shop.item`: no topic feeds it, it was changed by SQL, has a tag and a branch, and its columns changed. */
export function addItem(state) {
  const now_ms = Date.now();
  const list = [];
  const steps = [["append", 5000, 0, 6], ["overwrite", 500, 500, 3], ["overwrite", 0, 100, 0], ["append", 1200, 0, 2], ["replace", 0, 0, 2, 9], ["overwrite", 97, 97, 1], ["overwrite", 240, 180, 1]];
  steps.forEach(([operation, added, deleted, files, removed], index) => list.unshift(snapshot(list[0], now_ms - (steps.length - index) * 3_700_000, operation, added, deleted, files, removed)));
  const field = (id, name, type, more = {}) => ({ id, name, type, required: false, key: false, doc: null, ...more });
  const first = [field(1, "id", "long", { required: true, key: true }), field(2, "name", "string", { required: true }), field(3, "region", "string"), field(4, "price", "decimal(10, 2)"), field(5, "at", "timestamptz")];
  const renamed = first.map((one) => (one.id === 2 ? { ...one, name: "title" } : one));
  const last = [...renamed.slice(0, 2), field(7, "memo", "string", { doc: "What the shop says of it" }), ...renamed.slice(2), field(6, "stock", "long")];
  const regions = ["eu", "us", "cn"];
  state.tables.set("shop.item", {
    namespace: "shop", table: "item", rows: 6160, files: 46, delete_files: 6, bytes: 540_000_000, snapshots: list, source: null, topic: null, key: ["id"], hot_rows: null, committed_offset: null, committed_ms: 0,
    fields: last,
    partition_spec: [{ name: "region", transform: "identity", source: "region" }, { name: "at_month", transform: "month", source: "at" }],
    schema_history: [first, [...first, field(6, "stock", "int")], [...renamed, field(6, "stock", "int")], last].map((fields, schema_id) => ({ schema_id, at: iso(now_ms - (6 - schema_id) * 3_600_000), fields })),
    properties: { "write.parquet.compression-codec": "zstd", comment: "What the shop sells" },
    refs: [{ name: "before-sale", type: "TAG", snapshot_id: list[4].id }, { name: "audit", type: "BRANCH", snapshot_id: list[2].id }],
    sample: Array.from({ length: 240 }, (_, index) => [index + 1, `item ${index + 1}`, index % 4 === 0 ? null : "new", regions[index % 3], ((index + 1) * 1.25).toFixed(2), iso(Date.UTC(2026, index % 7, 1 + (index % 27))), index % 5 === 0 ? null : index % 40]),
  });
}

const FROM_SQL = { bigint: "long", int: "int", text: "string", real: "float", double: "double", timestamptz: "timestamptz", timestamp: "timestamp", boolean: "boolean", date: "date" };
const typeOf = (text) => FROM_SQL[text.toLowerCase()] ?? text.toLowerCase();

/** Makes an empty table of a statement as the console writes it: one column a line. */
function create(state, sql) {
  const [, name] = /^create table\s+(\S+)/i.exec(sql);
  const [namespace, table] = unquoted(name).split(".");
  if (state.tables.has(`${namespace}.${table}`)) throw new SqlError(`table \`${namespace}.${table}\` exists already`, null, null);
  const fields = [...sql.matchAll(/^  ("[^"]+"|\w+) (.+?)( NOT NULL)?( PRIMARY KEY)?,?$/gm)].map(([, column, type, required, key], index) => ({ id: index + 1, name: unquoted(column), type: typeOf(type), required: Boolean(required ?? key), key: Boolean(key), doc: null }));
  if (fields.some((field) => field.type === "blurb")) throw new SqlError("type `BLURB` is not known", "Use one of BOOLEAN, INT, BIGINT, TEXT.", null);
  state.tables.set(`${namespace}.${table}`, { namespace, table, rows: 0, files: 0, delete_files: 0, bytes: 0, snapshots: [], source: null, topic: null, key: fields.filter((field) => field.key).map((field) => field.name), hot_rows: null, committed_offset: null, committed_ms: 0, fields, sample: [], partition_spec: [], schema_history: [{ schema_id: 0, fields }], properties: {} });
  return done("CREATE TABLE");
}

/** Changes that the forms of the console ask for. */
function alter(state, name, action) {
  const table = find(state, name);
  const column = (text) => table.fields.find((field) => field.name === unquoted(text));
  const before = table.fields;
  let match = /^add column (\S+) (.+?)( first| after (\S+))?$/i.exec(action);
  if (match) {
    const added = { id: Math.max(...before.map(({ id }) => id)) + 1, name: unquoted(match[1]), type: typeOf(match[2]), required: false, key: false, doc: null };
    const place = match[4] ? before.indexOf(column(match[4])) + 1 : match[3] ? 0 : before.length;
    table.fields = before.toSpliced(place, 0, added);
    table.sample = table.sample.map((row) => row.toSpliced(place, 0, null));
  }
  match = /^rename column (\S+) to (\S+)$/i.exec(action);
  if (match) table.fields = before.map((field) => (field === column(match[1]) ? { ...field, name: unquoted(match[2]) } : field));
  match = /^drop column (\S+)$/i.exec(action);
  if (match) {
    if (unquoted(match[1]) === "region") throw new SqlError("column `region` decides the partition of its rows", "`ALTER TABLE shop.item DROP PARTITION FIELD region` first.", null);
    const place = before.indexOf(column(match[1]));
    table.fields = before.toSpliced(place, 1);
    table.sample = table.sample.map((row) => row.toSpliced(place, 1));
  }
  match = /^alter column (\S+) type (.+)$/i.exec(action);
  if (match) table.fields = before.map((field) => (field === column(match[1]) ? { ...field, type: typeOf(match[2]) } : field));
  match = /^rename to (\S+)$/i.exec(action);
  if (match) {
    state.tables.delete(name);
    table.table = unquoted(match[1]);
    state.tables.set(`${table.namespace}.${table.table}`, table);
  }
  if (table.fields !== before) table.schema_history = [...table.schema_history, { schema_id: table.schema_history.length, at: iso(Date.now()), fields: table.fields }];
  return done("ALTER TABLE");
}

const unquoted = (text) => text.replaceAll('"', "");

function find(state, name) {
  const table = state.tables.get(name);
  if (!table) throw new SqlError(`table \`${name}\` not found`, "Did you mean `nyc.flights`?", null);
  return table;
}

const rowsOf = (columns, rows) => ({ columns: columns.map(([name, type]) => ({ name, type })), rows });
const done = (command) => ({ columns: [], rows: [], command });

const PROCEDURES = {
  accept_schema_change: (table, _name, state) => acceptChange(state, table),
  create_tag: (table, name, id) => createRef(table, "TAG", name, id),
  create_branch: (table, name, id) => createRef(table, "BRANCH", name, id),
  drop_tag: (table, name) => dropRef(table, name),
  drop_branch: (table, name) => dropRef(table, name),
  rollback_to_snapshot: (table, id) => {
    const target = table.snapshots.find((one) => one.id === id);
    if (table.topic) throw new SqlError(`table \`${table.namespace}.${table.table}\` cannot go back: topic \`${table.topic}\` feeds it`, null, null);
    if (!target) throw new SqlError(`table \`${table.namespace}.${table.table}\` has no snapshot ${id}`, "the table's page lists the snapshots that are kept", null);
    table.current = id;
    table.rows = Number(target.summary["total-records"]) - Number(target.summary["total-position-deletes"]);
  },
};

function createRef(table, type, name, id) {
  table.refs ??= [];
  if (table.refs.some((ref) => ref.name === name)) throw new SqlError(`${type.toLowerCase()} \`${name}\` exists already`, null, null);
  table.refs.push({ name, type, snapshot_id: id ?? table.current ?? table.snapshots[0].id });
}

function dropRef(table, name) {
  table.refs = (table.refs ?? []).filter((ref) => ref.name !== name);
}

function call(state, sql) {
  const [, procedure, list] = /^call\s+(\w+)\s*\((.*)\)\s*;?$/is.exec(sql) ?? [];
  if (!PROCEDURES[procedure]) throw new SqlError(`procedure \`${procedure}\` not found`, null, null);
  const [name, ...values] = [...list.matchAll(/'((?:[^']|'')*)'|(\d+)/g)].map(([, text, digits]) => (text === undefined ? digits : text.replaceAll("''", "'")));
  PROCEDURES[procedure](find(state, name), ...(procedure === "accept_schema_change" ? [undefined, state] : values));
  audit(state, `table.${procedure}`, `table/${name}`);
  return done("CALL");
}

/** Some rows of the table as if they had come, gone and been changed. */
function changes(table) {
  const columns = [...sqlColumns(fieldsOf(table)), { name: "_change_type", type: "text" }, { name: "_change_ordinal", type: "int" }, { name: "_commit_snapshot_id", type: "bigint" }];
  const sample = table.sample ?? data[table.table].rows;
  const id = table.snapshots[0].id;
  const changed = (row) => row.map((value, place) => (place === row.length - 1 ? 41 : value));
  const rows = sample.slice(0, 30).flatMap((row, index) => (index % 3 === 0 ? [[...row, "update_preimage", index, id], [...changed(row), "update_postimage", index, id]] : [[...row, index % 3 === 1 ? "insert" : "delete", index, id]]));
  return { columns, rows };
}

/** Answers what is about tables; undefined leaves a statement to the others. */
export function lakeAnswer(state, sql, { read_only: readOnly } = {}) {
  const words = sql.trim();
  if (/^call\b/i.test(words)) {
    if (readOnly) throw new SqlError("`CALL` cannot run in a read-only session", "Leave `read_only` out of the request.", null);
    return call(state, words);
  }
  const ofViews = viewAnswer(state, words);
  if (ofViews) return ofViews;
  const altered = /^alter\s+table\s+(\S+)\s+set\s*\((.*)\)\s*;?$/is.exec(words);
  if (altered) {
    const table = find(state, unquoted(altered[1]));
    table.properties = { ...table.properties, ...Object.fromEntries([...altered[2].matchAll(/'((?:[^']|'')*)'\s*=\s*'((?:[^']|'')*)'/g)].map(([, name, value]) => [name.replaceAll("''", "'"), value.replaceAll("''", "'")])) };
    return done("ALTER TABLE");
  }
  if (/^create schema\b/i.test(words)) return done("CREATE SCHEMA");
  if (/^create table\s+\S+\s*\(/i.test(words) && !readOnly) return create(state, words);
  const [, changedName, action] = /^alter table (\S+) (.*)$/is.exec(words) ?? [];
  if (changedName) return alter(state, unquoted(changedName), action);
  const [, droppedName] = /^drop table (\S+)/i.exec(words) ?? [];
  if (droppedName && state.tables.has(unquoted(droppedName))) {
    state.tables.delete(unquoted(droppedName));
    return done("DROP TABLE");
  }
  if (/^optimize\b/i.test(words)) return done("OPTIMIZE");
  const [, changed] = /\btable_changes\('([^']+)'/i.exec(words) ?? [];
  if (changed) return changes(find(state, changed));
  const [, namespace, named, about] = /\bfrom\s+([\w"]+)\."([^"$]+)\$(\w+)"/i.exec(words) ?? [];
  if (about) return aboutTable(find(state, `${unquoted(namespace)}.${named}`), about, words);
  const [, from] = /^select\b[^]*?\bfrom\s+((?:\w+|"[^"]+")\.(?:\w+|"[^"]+"))/i.exec(words) ?? [];
  const table = from && state.tables.get(unquoted(from));
  if (!table?.sample) return undefined;
  const [, limit] = /\blimit\s+(\d+)/i.exec(words) ?? [];
  return { columns: sqlColumns(table.fields), rows: table.sample.slice(0, Number(limit ?? 240)) };
}

const PARTITIONS = ["eu", "us", "cn"].flatMap((region) => [672, 673, 674, 675].map((month) => `region=${region}/at_month=${month}`));
/** Partition of the file of a number. */
export const partitionOf = (table, index) => (table.partition_spec ? PARTITIONS[(index * 7) % PARTITIONS.length] : null);

function partitions(table) {
  const names = table.partition_spec ? PARTITIONS : Array.from({ length: 12 }, (_, index) => `scheduled_departure_month=2013-${String(index + 1).padStart(2, "0")}`);
  const rows = names.map((name, index) => [name, 0, Math.round((table.rows / names.length) * (0.6 + index / 14)), Math.max(1, Math.round(table.files / names.length)), Math.round((table.bytes / names.length) * (0.6 + index / 14)), index * 3, table.snapshots[0]?.at ?? null]);
  return rowsOf([["partition", "text"], ["spec_id", "int"], ["record_count", "bigint"], ["file_count", "int"], ["total_data_file_size_in_bytes", "bigint"], ["position_delete_record_count", "bigint"], ["last_updated_at", "timestamp with time zone"]], rows);
}

/** What files would know of each column, taken from the rows that the mock has. */
function statistics(table) {
  const sample = table.sample ?? data[table.table].rows;
  const values = fieldsOf(table).flatMap(({ type }, place) => {
    const known = sample.map((row) => row[place]).filter((value) => value !== null);
    const ordered = known.toSorted((a, b) => (/long|int|double|decimal/.test(type) ? Number(a) - Number(b) : String(a).localeCompare(String(b))));
    const nulls = Math.round(((sample.length - known.length) / sample.length) * table.rows);
    return [table.files, nulls, ordered[0] ?? null, ordered.at(-1) ?? null, Math.round((table.bytes / fieldsOf(table).length) * (0.3 + String(known[0] ?? "").length / 9))];
  });
  return rowsOf([["v0", "bigint"], ...values.map((_, index) => [`v${index + 1}`, "text"])], [[table.rows, ...values]]);
}

function aboutTable(table, about, sql) {
  if (about === "refs") {
    const all = [...(table.refs ?? []), { name: "main", type: "BRANCH", snapshot_id: table.current ?? table.snapshots[0].id }];
    return rowsOf([["name", "text"], ["type", "text"], ["snapshot_id", "bigint"]], all.map((ref) => [ref.name, ref.type, ref.snapshot_id]));
  }
  if (about === "metadata_log_entries") return rowsOf([["latest_schema_id", "int"], ["timestamp", "timestamp with time zone"]], (table.schema_history ?? []).map((schema) => [schema.schema_id, schema.at]));
  if (about === "partitions") return partitions(table);
  if (about === "files" && /value_counts\[/.test(sql)) return statistics(table);
  throw new SqlError(`table \`${table.namespace}.${table.table}$${about}\` not found`, null, null);
}

