// Views, and a table that waits before a change at its source.
import { SqlError } from "./sql.js";

const HOUR_MS = 3_600_000;
const iso = (ms) => new Date(ms).toISOString();

/** Two views of `shop.item`, one of which was replaced once; `shop.invoice`, which stands still. */
export function addRelations(state) {
  const now_ms = Date.now();
  const version = (id, schema, age_h, sql) => ({ "version-id": id, "schema-id": schema, "timestamp-ms": now_ms - age_h * HOUR_MS, summary: { "engine-name": "tarn", "engine-version": "0.1.0" }, representations: [{ type: "sql", sql, dialect: "tarn" }], "default-namespace": ["shop"] });
  const field = (id, name, type) => ({ id, name, type, required: false });
  const cheap = { "schema-id": 0, type: "struct", fields: [field(1, "id", "long"), field(2, "title", "string"), field(3, "price", "decimal(10, 2)")] };
  const sums = { "schema-id": 0, type: "struct", fields: [field(1, "region", "string"), field(2, "items", "long")] };
  state.views.set("shop.cheap", {
    metadata: { "format-version": 1, "current-version-id": 1, versions: [version(1, 0, 5, "SELECT id, title, price\nFROM item\nWHERE price < 10")], schemas: [cheap], properties: { comment: "What costs less than ten" } },
    rows: Array.from({ length: 7 }, (_, index) => [index + 1, `item ${index + 1}`, ((index + 1) * 1.25).toFixed(2)]),
  });
  state.views.set("shop.per_region", {
    metadata: { "format-version": 1, "current-version-id": 2, versions: [version(1, 0, 30, "SELECT region, count(*) FROM item GROUP BY 1"), version(2, 0, 2, "SELECT region, count(*) AS items\nFROM item\nWHERE stock > 0\nGROUP BY region")], schemas: [sums], properties: {} },
    rows: [["eu", 80], ["us", 80], ["cn", 80]],
  });
  const fields = [["id", "long"], ["amount", "int"], ["customer", "string"]].map(([name, type], index) => ({ id: index + 1, name, type, required: index === 0, key: index === 0, doc: null }));
  state.topics.set("shop.public.invoice", { name: "shop.public.invoice", table: "invoice", partitions: 1, rows: 1217, bytes: 41_000, rows_per_s: 0, last_append_at: iso(now_ms - 9 * 60_000), source: "shop", low_offset: 0, retention: { age: "7d", size: null } });
  state.tables.set("shop.invoice", {
    namespace: "shop", table: "invoice", rows: 1200, files: 1, delete_files: 0, bytes: 21_400, source: "shop", topic: "shop.public.invoice", key: ["id"], hot_rows: 0, committed_offset: 1200, committed_ms: now_ms, fields, partition_spec: [],
    schema_history: [{ schema_id: 0, at: iso(now_ms - 40 * HOUR_MS), fields }], properties: {}, sample: Array.from({ length: 100 }, (_, index) => [index + 1, index * 3, `customer ${index}`]),
    snapshots: [{ id: "4000000000000042", parent_id: null, at: iso(now_ms - 12 * 60_000), operation: "append", added_rows: 1200, deleted_rows: 0, added_files: 1, total_rows: 1200, summary: { "added-records": "1200", "added-data-files": "1", "total-records": "1200", "total-position-deletes": "0", "total-files-size": "21400" } }],
    waits: { message: "table `shop.invoice` stands still before a change at its source: column `memo` was added (string)", hint: "nothing is lost, rows wait in the topic; follow this change by `CALL accept_schema_change('shop.invoice')`, or set `on_schema_change` of the source to evolve, try, lenient or ignore" },
  });
}

/** Lets a table go on: the column comes, and what waited. */
export function acceptChange(state, table) {
  if (!table.waits) throw new SqlError(`table \`${table.namespace}.${table.table}\` waits for nothing`, null, null);
  delete table.waits;
  const memo = { id: 4, name: "memo", type: "string", required: false, key: false, doc: null };
  table.fields = [...table.fields, memo];
  table.sample = table.sample.map((row) => [...row, null]);
  table.rows = state.topics.get(table.topic).rows;
  table.schema_history = [...table.schema_history, { schema_id: 1, at: iso(Date.now()), fields: table.fields }];
}

/** Answers what is about views; undefined leaves a statement to the others. */
export function viewAnswer(state, sql) {
  const text = (columns, rows) => ({ columns: columns.map((name) => ({ name, type: "text" })), rows });
  if (/\bfrom information_schema\.views\b/i.test(sql)) return text(["table_schema", "table_name"], [...state.views.keys()].map((name) => name.split(".")));
  const [, dropped] = /^drop view (\S+?);?$/i.exec(sql) ?? [];
  if (dropped) {
    if (!state.views.delete(dropped)) throw new SqlError(`view \`${dropped}\` not found`, null, null);
    return { columns: [], rows: [], command: "DROP VIEW" };
  }
  const [, from] = /^select \*\s+from (\w+\.\w+)\b/i.exec(sql) ?? [];
  const view = state.views.get(from);
  if (!view) return undefined;
  const { fields } = view.metadata.schemas[0];
  return { columns: fields.map(({ name, type }) => ({ name, type })), rows: view.rows };
}
