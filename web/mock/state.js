// What the mock server knows, and how it changes with time.
import { readFileSync } from "node:fs";
import { addItem } from "./lake.js";
import { addRelations } from "./relations.js";

const read = (name) => JSON.parse(readFileSync(new URL(`./fixtures/${name}.json`, import.meta.url), "utf8"));
export const data = read("tables");
export const answers = read("answers");

const KEYS = {
  flights: ["flight_id"],
  weather: ["origin", "time_hour"],
  planes: ["tailnum"],
  airports: ["faa"],
  airlines: ["carrier"],
};
const COMMIT_MS = 60_000;
/** Changes that are new rows; the others replace some. */
const HOT_SHARE = 0.4;
const now = () => new Date().toISOString();
const before = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
const noise = (spread) => 1 + (Math.random() - 0.5) * spread;
const hex = (length) => Array.from({ length }, () => Math.floor(Math.random() * 16).toString(16)).join("");

const FLIGHTS_YAML = "kind: source\nname: nyc\nspec:\n  type: replay\n  path: data\n  speed: 3600\n";
const SHOP_YAML =
  "kind: source\nname: shop\nspec:\n  type: postgres_cdc\n  url: postgres://tarn@127.0.0.1:5432/shop\n  password: { secret: shop_password }\n  tables: [public.orders]\n";
const TABLE_YAML = "kind: table\nname: nyc.flights\nspec:\n  freshness: 1m\n";

/** A world: `demo` moves, `empty` has nothing, `inbox` is what `tarn init` makes, `locked` asks for a password (lin, correct horse). */
export function newState(world = "demo") {
  const state = {
    started_ms: Date.now() - 8_430_000,
    session: { user: null },
    users: [],
    keys: [],
    secrets: [{ name: "shop_password", updated_at: before(86_400), used_by: ["source shop"] }],
    audit: [],
    rates: [],
    topics: new Map(),
    sources: new Map(),
    tables: new Map(),
    views: new Map(),
    queries: [],
    imports: [],
    resources: [],
    revisions: [],
    listeners: new Set(),
    waiting: new Map(),
    cancelled: [],
    rows_total: 0,
    queries_per_s: 12,
  };
  if (world === "locked") state.users.push({ name: "lin", role: "admin", password: "correct horse", created_at: before(86_400), last_seen_at: null });
  if (world === "empty" || world === "inbox") {
    state.secrets = [];
    state.queries_per_s = 0;
    if (world === "inbox") addInbox(state);
    return state;
  }
  for (const [name, table] of Object.entries(data)) addTopic(state, "nyc", name, table.total * (name === "flights" ? 2.4 : 1));
  addFlights(state);
  addShop(state);
  addItem(state);
  addRelations(state);
  for (const [index, yaml] of [FLIGHTS_YAML, SHOP_YAML, TABLE_YAML].entries()) {
    const [, kind] = /kind: (\S+)/.exec(yaml);
    const [, name] = /name: (\S+)/.exec(yaml);
    const at = before(7200 - index * 900);
    // What lies in the project's folder at the start is applied by the server itself.
    const author = index === 0 ? "system" : "local";
    state.resources.push({ kind, name, revision: index + 1, updated_at: at, author, state: "active", message: null, yaml });
    const diff = `--- /dev/null\n+++ ${kind}/${name}\n@@ -0,0 +1,${yaml.trim().split("\n").length} @@\n${yaml.trim().split("\n").map((line) => `+${line}`).join("\n")}\n`;
    state.revisions.unshift({ revision: index + 1, at, author, message: `Apply resources/${name}.yaml`, changes: [{ action: "create", kind, name, diff }], snapshot: structuredClone(state.resources) });
    audit(state, "resource.apply", `${kind}/${name}`, at);
  }
  for (let point = 150; point > 0; point -= 1) {
    const at_ms = Date.now() - point * 2000;
    state.rates.push({ at_ms, rows_per_s: rateAt(at_ms), queries_per_s: Math.round(12 * noise(0.6)) });
  }
  return state;
}

function rateAt(ms) {
  return Math.round((5200 + 1900 * Math.sin(ms / 21_000) + 700 * Math.sin(ms / 6100)) * noise(0.14));
}

export function audit(state, action, target, at = now()) {
  state.audit.unshift({ at, principal: state.session.user ?? "local", action, target, outcome: "ok", hash: hex(64) });
}

function addTopic(state, source, table, rows) {
  const total = Math.round(rows);
  state.topics.set(`${source}.${table}`, {
    name: `${source}.${table}`,
    source,
    table,
    partitions: table === "flights" ? 2 : 1,
    rows: total,
    bytes: total * 71,
    low_offset: 0,
    rows_per_s: 0,
    last_append_at: now(),
    retention: { age: "7d", size: null },
  });
  addTable(state, source, table, total / (table === "flights" ? 2.4 : 1));
}

function addTable(state, namespace, table, rows) {
  const snapshots = [];
  let total = Math.round(rows);
  const current_rows = total;
  for (let index = 0; index < 24; index += 1) {
    const operation = index === 5 ? "replace" : table === "flights" ? "overwrite" : "append";
    const added = operation === "replace" ? 0 : Math.round((current_rows / 60) * noise(0.8));
    const deleted = operation === "overwrite" ? Math.round(added * 0.42) : 0;
    snapshots.push({ id: String(4_000_000_000_000_000 + Math.floor(Math.random() * 9e14)), at: before(6 + index * 61), operation, added_rows: added, deleted_rows: deleted, added_files: operation === "replace" ? 1 : 2, total_rows: total, summary: { "added-records": String(added) } });
    total -= added - deleted;
  }
  snapshots.forEach((one, index) => {
    one.parent_id = snapshots[index + 1]?.id ?? null;
  });
  // What came since the newest snapshot.
  const hot_rows = table === "flights" ? 10_320 : 0;
  const committed_offset = state.topics.get(`${namespace}.${table}`).rows - hot_rows / HOT_SHARE;
  state.tables.set(`${namespace}.${table}`, { namespace, table, rows: current_rows, files: 7 + (current_rows % 23), delete_files: table === "flights" ? 4 : 0, bytes: Math.round(current_rows * 31), snapshots, source: namespace, topic: `${namespace}.${table}`, hot_rows, committed_offset, committed_ms: Date.parse(snapshots[0].at) });
}

/** What SQL sees of a topic: all but what came a moment ago. */
export const appliedOffset = (topic) => topic.rows - Math.round(topic.rows_per_s * 0.06);

/** Writes what is in memory to files. */
export function commit(state, table) {
  const topic = state.topics.get(table.topic);
  if (table.hot_rows > 0) {
    const bytes = hotBytes(table);
    const [newest] = table.snapshots;
    table.snapshots.unshift({ id: String(BigInt(newest.id) + 1n), parent_id: newest.id, at: now(), operation: newest.operation, added_rows: table.hot_rows, deleted_rows: 0, added_files: 1, total_rows: table.rows, summary: { "added-records": String(table.hot_rows) } });
    table.snapshots.splice(200);
    Object.assign(table, { files: table.files + 1, bytes: table.bytes + bytes, hot_rows: 0 });
  }
  Object.assign(table, { committed_offset: appliedOffset(topic), committed_ms: Date.now() });
}

export const hotBytes = (table) => table.hot_rows * 71;

function addFlights(state) {
  state.sources.set("nyc", {
    name: "nyc",
    type: "replay",
    title: "Replay of recorded data",
    state: "streaming",
    state_since: before(8400),
    message: null,
    restarts: 0,
    dead_letters: 3,
    spec: { type: "replay", path: "data", speed: 3600 },
    history: [
      { at: before(8430), state: "starting", message: "revision 1" },
      { at: before(8428), state: "snapshot", message: "planes, airports, airlines" },
      { at: before(8400), state: "streaming", message: "from 2013-01-01T05:00:00Z" },
    ],
    tables: Object.keys(KEYS),
  });
}

function addInbox(state) {
  state.sources.set("inbox", {
    name: "inbox", type: "http_push", title: "HTTP push", state: "idle", state_since: before(60), message: null, restarts: 0, dead_letters: 0,
    spec: { type: "http_push" },
    history: [{ at: before(60), state: "idle", message: null }],
    tables: [],
  });
}

function addShop(state) {
  state.sources.set("shop", {
    name: "shop",
    type: "postgres_cdc",
    title: "PostgreSQL (change data capture)",
    state: "backing_off",
    state_since: before(42),
    message: "could not connect to `127.0.0.1:5432`: connection refused",
    hint: "Start PostgreSQL, or correct `url` in source `shop`. The next attempt is in 30 s.",
    restarts: 4,
    dead_letters: 0,
    spec: { type: "postgres_cdc", url: "postgres://tarn@127.0.0.1:5432/shop", password: { secret: "shop_password" }, tables: ["public.orders"] },
    history: [
      { at: before(130), state: "starting", message: "revision 2" },
      { at: before(128), state: "backing_off", message: "could not connect to `127.0.0.1:5432`: connection refused" },
      { at: before(74), state: "starting", message: null },
      { at: before(42), state: "backing_off", message: "could not connect to `127.0.0.1:5432`: connection refused" },
    ],
    tables: [],
  });
}

/** Rows go to memory; they are committed each minute, and when no more come. */
function grow(state, table, topic, at_ms) {
  const rows = Math.round(topic.rows_per_s * HOT_SHARE);
  table.rows += rows;
  table.hot_rows += rows;
  if (rows === 0 || at_ms - table.committed_ms >= COMMIT_MS) commit(state, table);
}

/** Moves the world on by a second. */
export function tick(state) {
  const at_ms = Date.now();
  const flights = state.sources.get("nyc");
  const moving = flights?.state === "streaming";
  const rate = moving ? rateAt(at_ms) : 0;
  state.rows_per_s = rate;
  state.queries_per_s = flights ? Math.max(0, Math.round(12 * noise(0.7))) : 0;
  for (const topic of state.topics.values()) {
    const share = topic.table === "flights" ? 0.86 : topic.table === "weather" ? 0.14 : 0;
    topic.rows_per_s = Math.round(rate * share);
    topic.rows += topic.rows_per_s;
    topic.bytes += topic.rows_per_s * 71;
    if (topic.rows_per_s > 0) topic.last_append_at = now();
    const table = state.tables.get(topic.name);
    if (table) grow(state, table, topic, at_ms);
  }
  if (at_ms - (state.rates.at(-1)?.at_ms ?? 0) >= 2000) {
    state.rates.push({ at_ms, rows_per_s: rate, queries_per_s: state.queries_per_s });
    state.rates.splice(0, state.rates.length - 150);
  }
}

export function setSourceState(state, name, next, message = null) {
  const source = state.sources.get(name);
  Object.assign(source, { state: next, state_since: now(), message });
  source.history.push({ at: now(), state: next, message });
  for (const send of state.listeners) send("changed", { kind: "source", name });
}

export const keysOf = (table) => KEYS[table] ?? [];
