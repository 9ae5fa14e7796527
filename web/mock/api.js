// The routes of the mock's API: `[method, pattern, handler]`; the first that fits answers.
import { lakeAnswer } from "./lake.js";
import { importOf, planOf, problemsOf, startImport } from "./imports.js";
import { analyze, runsOf, servicesOf } from "./services.js";
import { sourceTypes } from "./source-types.js";
import * as resources from "./resources.js";
import { answer, completion, SqlError } from "./sql.js";
import { audit, commit, setSourceState } from "./state.js";
import * as views from "./views.js";

export class Refusal extends Error {
  constructor(status, kind, message, more = {}) {
    super(message);
    Object.assign(this, { status, body: { error: { kind, message, ...more } } });
  }
}

const missing = (kind, name, similar) => new Refusal(404, "not_found", `${kind} \`${name}\` not found`, similar ? { hint: `did you mean \`${similar}\`?` } : {});
/** Whether two names have the same letters, or all but one. */
const alike = (a, b) => {
  const rest = [...b];
  for (const letter of a) if (rest.includes(letter)) rest.splice(rest.indexOf(letter), 1);
  return rest.length <= 1 && Math.abs(a.length - b.length) <= 1;
};
const find = (map, kind, name) => {
  const found = map.get(name);
  if (!found) throw missing(kind, name, [...map.keys()].find((known) => alike(name, known)));
  return found;
};
const items = (list) => ({ items: list });
const hex = (length) => Array.from({ length }, () => Math.floor(Math.random() * 16).toString(16)).join("");

const VERBS = { restart: "starting", pause: "paused", resume: "streaming" };

function command(state, name, verb) {
  const source = find(state.sources, "source", name);
  audit(state, `ingest.${verb}`, `source/${name}`);
  if (verb === "restart") source.restarts += 1;
  setSourceState(state, name, VERBS[verb]);
  if (verb !== "pause") setTimeout(() => name === "shop" ? setSourceState(state, name, "backing_off", "could not connect to `127.0.0.1:5432`: connection refused") : setSourceState(state, name, "streaming"), 4000).unref();
}

/** A query that names `slowly` answers only when it is cancelled: what a person sees while waiting can be tried. */
async function slowQuery(state, body) {
  await new Promise((resolve) => state.waiting.set(body.query_id, resolve));
  throw new Refusal(409, "conflict", `query \`${body.query_id}\` was cancelled`);
}

function query(state, body, principal) {
  const started_at = new Date().toISOString();
  const query_id = body.query_id ?? hex(32);
  const record = (more) => {
    state.queries.unshift({ query_id, sql: body.sql, principal, started_at, elapsed_ms: 6, rows: 0, ...more });
    state.queries.splice(100);
  };
  try {
    const { columns, rows, plan, command } = lakeAnswer(state, body.sql ?? "", body) ?? answer(body.sql ?? "", body);
    record({ state: "done", rows: rows.length, elapsed_ms: 14.2 });
    if (body.format === "csv") {
      const cell = (value) => (value === null ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
      return { type: "text/csv", text: [columns.map((column) => column.name), ...rows].map((row) => row.map(cell).join(",")).join("\n") };
    }
    const shown = rows.slice(0, body.limit ?? 10_000);
    return { query_id, columns, rows: shown, row_count: rows.length, truncated: shown.length < rows.length, elapsed_ms: 14.2, stats: { files_total: 19, files_scanned: 7, rows_scanned: 118_400, bytes_scanned: 2_140_000 }, ...(plan ? { plan } : {}), ...(command ? { command } : {}) };
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    record({ state: "failed", message: error.message });
    throw new Refusal(400, "invalid", error.message, { hint: error.hint, position: error.position });
  }
}

/** Of a table that moves some rows are others each time. */
function preview(state, table, search) {
  const result = query({ ...state, queries: [] }, { sql: `SELECT * FROM ${table.namespace}.${table.table} LIMIT 100` }, "local");
  const moving = (state.topics.get(table.topic)?.rows_per_s ?? 0) > 0 && !search.has("snapshot");
  if (!moving) return result;
  const at = Math.floor(Date.now() / 1000);
  return { ...result, rows: result.rows.map((row, index) => ([at % 10, (at + 3) % 10].includes(index) ? [...row.slice(0, -1), at % 500] : row)) };
}

function importNamed(state, id) {
  const found = state.imports.find((one) => one.id === id);
  if (!found) throw missing("import", id);
  return found;
}

function check(body) {
  if (body.type !== "postgres_cdc") return { ok: true, steps: [{ name: "Read the configuration", ok: true, detail: body.type }], tables: [] };
  const host = /@([^/]+)/.exec(body.config?.url ?? "")?.[1] ?? "?";
  const steps = [{ name: "Resolve the address", ok: true, detail: host }];
  if (host.startsWith("db.")) {
    steps.push({ name: "Connect", ok: true, detail: "PostgreSQL 15.8" }, { name: "Logical replication", ok: true, detail: "wal_level = logical" });
    return { ok: true, steps, tables: ["public.customers", "public.orders", "public.order_lines"] };
  }
  steps.push({ name: "Connect", ok: false, detail: "connection refused: start PostgreSQL or correct `url`" });
  return { ok: false, steps, tables: [] };
}

function deadLetters() {
  return ["DEP_TIME", "flight", "tailnum"].map((column, index) => ({ offset: index, at: new Date(Date.now() - 60_000 * (index + 1)).toISOString(), table: "flights", record: `2013,2,${index + 3},NA,2460,NA,UA,${column}`, reason: `column \`${column}\`: \`2460\` is not a time of day`, place: `flights.csv:${48_211 + index}` }));
}

export const routes = [
  ["GET", "/overview", ({ state }) => views.overview(state)],
  ["GET", "/ingest", ({ state }) => items([...state.sources.values()].map((one) => views.sourceSummary(state, one)))],
  ["GET", "/ingest/types", () => items(sourceTypes)],
  ["POST", "/ingest/check", ({ body }) => check(body)],
  ["GET", "/ingest/:name", ({ state, name }) => views.sourceDetail(state, find(state.sources, "source", name))],
  ["GET", "/ingest/:name/dead-letters", ({ state, name }) => items(find(state.sources, "source", name).dead_letters > 0 ? deadLetters() : [])],
  ["POST", "/ingest/:name/:verb", ({ state, name, verb }) => command(state, name, verb)],
  ["GET", "/eventlog", ({ state }) => items([...state.topics.values()].map(views.topicSummary))],
  ["GET", "/eventlog/:name", ({ state, name }) => views.topicDetail(find(state.topics, "topic", name))],
  ["GET", "/eventlog/:name/rows", ({ state, name, search }) => views.topicRows(find(state.topics, "topic", name), search.has("offset") ? Number(search.get("offset")) : undefined, Number(search.get("limit") ?? 100))],
  ["GET", "/lakehouse", ({ state }) => items([...state.tables.values()].map((one) => views.tableSummary(state, one)))],
  ["GET", "/iceberg/v1/namespaces/:namespace/views/:view", ({ state, namespace, view }) => ({ metadata: find(state.views, "view", `${namespace}.${view}`).metadata })],
  ["GET", "/lakehouse/:namespace/:table", ({ state, namespace, table }) => views.tableDetail(state, find(state.tables, "table", `${namespace}.${table}`))],
  ["GET", "/lakehouse/:namespace/:table/files", ({ state, namespace, table }) => items(views.tableFiles(find(state.tables, "table", `${namespace}.${table}`)))],
  ["GET", "/lakehouse/:namespace/:table/preview", ({ state, namespace, table, search }) => preview(state, find(state.tables, "table", `${namespace}.${table}`), search)],
  ["GET", "/lakehouse/services", ({ state }) => servicesOf(state)],
  ["POST", "/lakehouse/services", ({ state, body }) => {
    state.services_paused = body.paused;
    return servicesOf(state);
  }],
  ["GET", "/lakehouse/:namespace/:table/runs", ({ state, namespace, table }) => items(runsOf(state, find(state.tables, "table", `${namespace}.${table}`)))],
  ["POST", "/lakehouse/:namespace/:table/analyze", ({ state, namespace, table }) => analyze(state, find(state.tables, "table", `${namespace}.${table}`))],
  ["POST", "/lakehouse/:namespace/:table/compact", ({ state, namespace, table }) => {
    const found = find(state.tables, "table", `${namespace}.${table}`);
    const files_before = found.files;
    found.files = Math.max(1, Math.ceil(found.files / 6));
    found.delete_files = 0;
    return { files_before, files_after: found.files };
  }],
  ["POST", "/lakehouse/:namespace/:table/flush", ({ state, namespace, table }) => {
    const found = find(state.tables, "table", `${namespace}.${table}`);
    commit(state, found);
    audit(state, "table.flush", `table/${namespace}.${table}`);
    return views.tableDetail(state, found);
  }],
  ["POST", "/imports/uploads", ({ search }) => ({ path: `upload://0f3a/${search.get("name")}`, bytes: 41_152 })],
  ["GET", "/imports", ({ state }) => items(state.imports)],
  ["POST", "/imports", ({ state, body, principal }) => {
    if (/nowhere/.test(body.path)) throw new Refusal(404, "not_found", `no file at \`${body.path}\``, { hint: "Paths are those of the server; look below the project's folder." });
    return body.dry_run ? { plan: planOf(state, body) } : startImport(state, body, principal);
  }],
  ["POST", "/imports/cutover", ({ state, body, principal }) => startImport(state, { ...body, path: "", mode: "cutover" }, principal)],
  ["GET", "/imports/:id", ({ state, id }) => importOf(importNamed(state, id))],
  ["GET", "/imports/:id/problems", ({ state, id }) => items(problemsOf(importNamed(state, id)))],
  ["POST", "/imports/:id/:verb", ({ state, id, verb }) => Object.assign(importNamed(state, id), verb === "cancel" ? { state: "cancelled", ended_ms: Date.now() } : { state: "running", error: null, fails: false })],
  ["POST", "/query", ({ state, body, principal }) => (/slowly/.test(body.sql ?? "") ? slowQuery(state, body) : query(state, body, principal))],
  ["GET", "/query", ({ state }) => items(state.queries)],
  ["GET", "/query/completion", ({ state }) => (state.tables.size > 0 ? completion : { ...completion, tables: [] })],
  ["DELETE", "/query/:id", ({ state, id }) => {
    state.cancelled.push(id);
    state.waiting.get(id)?.();
    state.waiting.delete(id);
  }],
  ["GET", "/resource", ({ state }) => items(state.resources)],
  ["POST", "/resource/plan", ({ state, body }) => resources.publicPlan(resources.plan(state, body))],
  ["POST", "/resource/apply", ({ state, body }) => resources.apply(state, body)],
  ["POST", "/resource/rollback", ({ state, body }) => {
    const done = resources.rollback(state, body.revision);
    if (!done) throw missing("revision", body.revision);
    return done;
  }],
  ["GET", "/resource/revisions", ({ state }) => items(state.revisions.map(({ snapshot: _snapshot, ...one }) => one))],
  ["GET", "/resource/revisions/:revision", ({ state, revision }) => {
    const found = state.revisions.find((one) => one.revision === Number(revision));
    if (!found) throw missing("revision", revision);
    return { ...found, snapshot: undefined };
  }],
  ["GET", "/resource/export", ({ state }) => ({ type: "text/yaml", text: state.resources.map((one) => one.yaml).join("---\n") })],
  ["POST", "/resource/write-back", ({ state }) => ({ files: state.resources.map((one) => `resources/${one.kind}/${one.name}.yaml`) })],
  ["GET", "/access/users", ({ state }) => items(state.users.map(({ password: _password, ...user }) => user))],
  ["POST", "/access/users", ({ state, body }) => {
    if (state.users.some((user) => user.name === body.name)) throw new Refusal(409, "conflict", `user \`${body.name}\` exists already`, { hint: "Choose another name." });
    state.users.push({ ...body, created_at: new Date().toISOString(), last_seen_at: null });
    audit(state, "access.user.create", body.name);
  }],
  ["DELETE", "/access/users/:name", ({ state, name }) => {
    state.users = state.users.filter((user) => user.name !== name);
    audit(state, "access.user.delete", name);
  }],
  ["GET", "/access/keys", ({ state }) => items(state.keys)],
  ["POST", "/access/keys", ({ state, body }) => {
    const id = `k_${hex(8)}`;
    const days = Number.parseInt(body.expires_in ?? "", 10);
    state.keys.push({ id, name: body.name, role: body.role, created_at: new Date().toISOString(), expires_at: days ? new Date(Date.now() + days * 86_400_000).toISOString() : null, last_used_at: null });
    audit(state, "access.key.create", id);
    return { id, name: body.name, key: `tarn_${hex(40)}` };
  }],
  ["DELETE", "/access/keys/:id", ({ state, id }) => {
    state.keys = state.keys.filter((key) => key.id !== id);
    audit(state, "access.key.delete", id);
  }],
  ["GET", "/access/secrets", ({ state }) => items(state.secrets)],
  ["PUT", "/access/secrets/:name", ({ state, name }) => {
    const used_by = state.secrets.find((secret) => secret.name === name)?.used_by ?? [];
    state.secrets = [...state.secrets.filter((secret) => secret.name !== name), { name, updated_at: new Date().toISOString(), used_by }];
    audit(state, "access.secret.put", name);
  }],
  ["DELETE", "/access/secrets/:name", ({ state, name }) => {
    state.secrets = state.secrets.filter((secret) => secret.name !== name);
    audit(state, "access.secret.delete", name);
  }],
  ["GET", "/access/audit", ({ state }) => items(state.audit)],
];

/** The route of a request and the values of its `:names`. */
export function routeOf(method, path) {
  const parts = path.split("/");
  for (const [verb, pattern, handler] of routes) {
    const wanted = pattern.split("/");
    if (verb !== method || wanted.length !== parts.length) continue;
    const values = {};
    const fits = wanted.every((want, index) => {
      if (!want.startsWith(":")) return want === parts[index];
      values[want.slice(1)] = decodeURIComponent(parts[index]);
      return true;
    });
    if (fits) return { handler, values };
  }
  return undefined;
}

