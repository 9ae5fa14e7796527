// Every type of the HTTP API that the console uses. Times are ISO-8601 UTC unless the name ends in `_ms`.

export interface Items<T> {
  items: T[];
}

export type FaultKind =
  | "invalid"
  | "not_found"
  | "conflict"
  | "denied"
  | "exhausted"
  | "unavailable"
  | "corrupt"
  | "internal";

export interface Position {
  line: number;
  column: number;
}

export interface ErrorBody {
  error: { kind: FaultKind; message: string; hint?: string; position?: Position };
}

export type Role = "viewer" | "editor" | "admin";

export interface Session {
  user: string | null;
  role: Role | null;
  tenant: string | null;
  authentication_required: boolean;
  version: string;
  project: string;
  read_only: boolean;
  demo: boolean;
}

// Overview

export interface RatePoint {
  at_ms: number;
  rows_per_s: number;
  queries_per_s: number;
}

export interface Fault {
  at: string;
  severity: "error" | "warning";
  subject_kind: "source" | "table" | "resource" | "topic";
  subject: string;
  message: string;
  hint?: string;
  action: { label_key: "restart" | "open" | "retry"; href: string };
}

export interface Overview {
  started_at: string;
  uptime_ms: number;
  sources: { running: number; paused: number; failed: number; starting: number };
  rows_per_s: number;
  rows_total: number;
  bytes_per_s: number;
  queries_per_s: number;
  query_p50_ms: number;
  query_p99_ms: number;
  memory_bytes: number;
  disk_bytes: number;
  disk_free_bytes: number;
  freshness_ms_max: number | null;
  rates: RatePoint[];
  sources_list: SourceSummary[];
  tables_list: TableSummary[];
  faults: Fault[];
}

export interface Changed {
  kind: string;
  name: string;
}

// Sources

export type SourceState =
  | "starting"
  | "snapshot"
  | "streaming"
  | "idle"
  | "paused"
  | "backing_off"
  | "failed"
  | "done";

export interface SourceSummary {
  name: string;
  type: string;
  title: string;
  state: SourceState;
  state_since: string;
  message?: string | null;
  hint?: string | null;
  rows_per_s: number;
  rows_total: number;
  lag_ms: number | null;
  lag_bytes: number | null;
  last_row_at: string | null;
  restarts: number;
  dead_letters: number;
  tables: number;
  topics: string[];
  snapshot: { rows_done: number; rows_estimated: number | null } | null;
  revision: number;
  running_revision: number;
}

export interface SourceTable {
  table: string;
  topic: string;
  lakehouse_table: string;
  rows_total: number;
  rows_per_s: number;
  lag_ms: number | null;
  phase: "snapshot" | "streaming" | "done";
}

export interface SourceEvent {
  at: string;
  state: SourceState;
  message?: string | null;
}

export interface SourceDetail extends SourceSummary {
  spec: Json;
  /** The last five minutes, where the server keeps them. */
  rates?: { at_ms: number; rows_per_s: number }[];
  per_table: SourceTable[];
  history: SourceEvent[];
}

export interface DeadLetter {
  offset: number;
  at: string;
  table: string | null;
  record: string;
  reason: string;
  place: string;
}

export interface SourceType {
  name: string;
  title: string;
  title_zh: string;
  summary: string;
  summary_zh: string;
  category: string;
  stability: "stable" | "beta";
  schema: JsonSchema;
  /** `config` is the `spec` part of the resource as YAML text. */
  examples: { title: string; config: string }[];
  docs: string;
}

export interface CheckResult {
  ok: boolean;
  steps: { name: string; ok: boolean; detail: string }[];
  tables: string[];
}

// Topics

export interface TopicSummary {
  name: string;
  partitions: number;
  rows: number;
  bytes: number;
  low_offset: number;
  high_offset: number;
  rows_per_s: number;
  last_append_at: string | null;
  retention: { age: string | null; size: string | null };
  source: string | null;
  consumers: number;
}

export interface TopicDetail extends TopicSummary {
  schema: { name: string; type: string; nullable: boolean }[];
  key: string[];
  partition_list: { partition: number; low_offset: number; high_offset: number; bytes: number; segments: number }[];
  consumer_list: {
    consumer: string;
    partition: number;
    offset: number;
    lag_rows: number;
    committed_at: string | null;
  }[];
}

export type RowKind = "insert" | "update_before" | "update_after" | "delete" | "truncate";

export interface TopicRows {
  columns: Column[];
  rows: { offset: number; at: string; kind: RowKind; values: Record<string, Json> }[];
  low_offset: number;
  high_offset: number;
}

// Tables

export interface TableSummary {
  name: string;
  namespace: string;
  table: string;
  rows: number;
  files: number;
  delete_files: number;
  bytes: number;
  snapshot_id: string | null;
  snapshots: number;
  last_commit_at: string | null;
  /** Time between the arrival of the newest changes in the topic and the moment when SQL saw them. */
  freshness_ms: number | null;
  /** Rows in memory that are in no file yet: SQL sees them, other engines do after the next commit. */
  hot_rows: number | null;
  hot_bytes: number | null;
  /** Next offset of the topic that is in no commit. */
  committed_offset: number | null;
  source: string | null;
  key: string[];
  state: "ok" | "behind" | "failed";
  message?: string | null;
  hint?: string | null;
}

export interface TableField {
  id: number;
  name: string;
  type: string;
  required: boolean;
  key?: boolean;
  doc?: string | null;
}

export interface Snapshot {
  id: string;
  parent_id: string | null;
  at: string;
  operation: string;
  added_rows: number;
  deleted_rows: number;
  added_files: number;
  total_rows: number;
  summary: Record<string, string>;
}

export interface TableDetail extends TableSummary {
  schema: TableField[];
  partition_spec: { name: string; transform: string; source: string }[];
  location: string;
  format_version: number;
  properties: Record<string, string>;
  snapshot_list: Snapshot[];
  schema_history: { schema_id: number; at?: string | null; fields: TableField[] }[];
  topic: string | null;
  /** Next offset of the topic that SQL does not see. */
  applied_offset: number | null;
  applied_high_offset: number | null;
}

export interface TableFile {
  path: string;
  content: "data" | "position_deletes";
  rows: number;
  bytes: number;
  partition: string | null;
  deleted_rows: number;
}

export interface CompactResult {
  files_before: number;
  files_after: number;
}

// SQL

export interface Column {
  name: string;
  type: string;
}

export interface QueryRequest {
  sql: string;
  format?: "json" | "csv" | "arrow";
  limit?: number;
  timeout?: string;
  query_id?: string;
  explain?: boolean;
  /** Refuses a statement that changes something. */
  read_only?: boolean;
}

export interface QueryResult {
  query_id: string;
  columns: Column[];
  rows: Json[][];
  row_count: number;
  truncated: boolean;
  elapsed_ms: number;
  stats: { files_total: number; files_scanned: number; rows_scanned: number; bytes_scanned: number };
  plan?: string;
  /** What a statement did that changes something. */
  command?: string;
}

export interface QueryRun {
  query_id: string;
  sql: string;
  principal: string;
  state: "running" | "done" | "failed" | "cancelled";
  started_at: string;
  elapsed_ms: number;
  rows: number;
  message?: string | null;
}

export interface Completion {
  tables: { name: string; columns: Column[] }[];
  functions: { name: string; signature: string; description: string }[];
  keywords: string[];
}

// Resources

export interface Resource {
  kind: string;
  name: string;
  revision: number;
  updated_at: string;
  author: string;
  state: "active" | "failed" | "pending";
  message?: string | null;
  yaml: string;
}

export interface Problem {
  severity: "error" | "warning";
  message: string;
  file?: string | null;
  line?: number | null;
  column?: number | null;
  hint?: string | null;
}

export type ChangeAction = "create" | "update" | "delete" | "none";

export interface Change {
  action: ChangeAction;
  kind: string;
  name: string;
  diff?: string;
  problems?: Problem[];
}

export interface PlanRequest {
  documents: string;
  delete?: { kind: string; name: string }[];
  prune?: boolean;
}

export interface Plan {
  base_revision: number;
  changes: Change[];
  /** Of the documents as a whole, or of a place that belongs to no resource. */
  problems?: Problem[];
  ok: boolean;
}

export interface ApplyRequest extends PlanRequest {
  base_revision?: number;
  message?: string;
}

export interface Applied {
  revision: number;
  changes: Change[];
}

export interface Revision {
  revision: number;
  at: string;
  author: string;
  message: string | null;
  changes: Change[];
}

// Access

export interface User {
  name: string;
  role: Role;
  created_at?: string | null;
  last_seen_at?: string | null;
}

export interface ApiKey {
  id: string;
  name: string;
  role: Role;
  created_at?: string | null;
  expires_at?: string | null;
  last_used_at?: string | null;
}

export interface NewApiKey {
  id: string;
  name: string;
  key: string;
}

export interface Secret {
  name: string;
  updated_at: string;
  used_by: string[];
}

export interface AuditRecord {
  at: string;
  principal: string;
  action: string;
  target: string;
  outcome: string;
  hash: string;
}

// JSON

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** The part of JSON Schema (2020-12) that forms are drawn from. */
export interface JsonSchema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: Json;
  examples?: Json[];
  enum?: Json[];
  const?: Json;
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: boolean | JsonSchema;
  oneOf?: JsonSchema[];
  anyOf?: JsonSchema[];
  allOf?: JsonSchema[];
  writeOnly?: boolean;
}
