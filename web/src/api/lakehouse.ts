import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { request } from "./client";
import { aboutRef, asOf, ident, literal, type TableName, tableRef, tableText } from "./sql";
import type { ServiceRun, Services } from "./services";
import type { Items, QueryResult, TableFile } from "./types";

const ROWS_MAX = 10_000;

/** Asks by SQL. The server refuses what would change something. */
export const read = (sql: string, signal?: AbortSignal, limit = ROWS_MAX): Promise<QueryResult> =>
  request<QueryResult>("/query", { method: "POST", body: { sql, limit, read_only: true }, signal });

/** Runs a statement that changes something. */
export const change = (sql: string): Promise<QueryResult> => request<QueryResult>("/query", { method: "POST", body: { sql } });

const pathOf = ({ namespace, table }: TableName) => `/lakehouse/${encodeURIComponent(namespace)}/${encodeURIComponent(table)}`;
const key = ({ namespace, table }: TableName, what: string, ...more: unknown[]) => ["lakehouse", what, namespace, table, ...more] as const;

/** Files that are asked for at most. */
export const FILES_MAX = 10_000;

/** Rows of a comparison that are shown at most. */
export const CHANGES_MAX = 1000;

export const tableQueries = {
  /** What a statement that only reads says of tables. */
  sql: (name: readonly unknown[], sql: string, limit?: number) =>
    queryOptions({ queryKey: ["lakehouse", "sql", ...name] as const, queryFn: ({ signal }) => read(sql, signal, limit), staleTime: 30_000, retry: false }),
  /** Files of the current snapshot; `snapshot` only tells one answer from the next. */
  files: (name: TableName, snapshot: string | null) =>
    queryOptions({
      queryKey: key(name, "files", snapshot),
      queryFn: async ({ signal }): Promise<TableFile[]> => (await request<Items<TableFile>>(`${pathOf(name)}/files?limit=${FILES_MAX}`, { signal })).items,
      placeholderData: keepPreviousData,
    }),
  /** A hundred rows as SQL sees them, in the order of a column from the largest or as they lie; `at` tells one answer from the next. */
  rows: (name: TableName, order: string | undefined, at: string) =>
    queryOptions({
      queryKey: key(name, "rows", order ?? "", at),
      queryFn: ({ signal }) =>
        order
          ? read(`SELECT * FROM ${tableRef(name)} ORDER BY ${ident(order)} DESC NULLS LAST LIMIT 100`, signal)
          : request<QueryResult>(`${pathOf(name)}/preview?limit=100`, { signal }),
      // Each look is another one; a few are enough to come back to.
      gcTime: 10_000,
    }),
  /** What looked after the table, the newest first. */
  runs: (name: TableName) =>
    queryOptions({
      queryKey: key(name, "runs"),
      queryFn: async ({ signal }): Promise<ServiceRun[]> => (await request<Items<ServiceRun>>(`${pathOf(name)}/runs?limit=200`, { signal })).items,
      refetchInterval: 3000,
      retry: false,
    }),
  services: queryOptions({
    queryKey: ["lakehouse", "services"] as const,
    queryFn: ({ signal }) => request<Services>("/lakehouse/services", { signal }),
    refetchInterval: 3000,
    retry: false,
  }),
  /** Tags and branches. */
  refs: (name: TableName) =>
    queryOptions({
      queryKey: key(name, "refs"),
      queryFn: ({ signal }) => read(`SELECT name, type, snapshot_id FROM ${aboutRef(name, "refs")} ORDER BY name`, signal),
      refetchInterval: 5000,
    }),
  /** Rows that differ between two snapshots, in the order in which they changed; a row before an update comes right before that after it. */
  changes: (name: TableName, from: string, to: string, tableKey: string[]) =>
    queryOptions({
      queryKey: key(name, "changes", from, to),
      queryFn: ({ signal }) => read(`SELECT * FROM table_changes(${tableText(name)}, ${from}, ${to}) ORDER BY ${["_change_ordinal", ...tableKey.map(ident), "_change_type DESC"].join(", ")} LIMIT ${CHANGES_MAX + 1}`, signal, CHANGES_MAX),
      staleTime: Number.POSITIVE_INFINITY,
      retry: false,
    }),
  /** Names of the columns that a snapshot had. */
  columns: (name: TableName, snapshot: string) =>
    queryOptions({
      queryKey: key(name, "columns", snapshot),
      queryFn: ({ signal }) => read(`SELECT * FROM ${asOf(name, snapshot)} LIMIT 0`, signal).then(({ columns }) => columns.map((column) => column.name)),
      staleTime: Number.POSITIVE_INFINITY,
      retry: false,
    }),
  /** Rows that one snapshot has and another has not; reads both whole. */
  only: (name: TableName, has: string, not: string, columns: string) =>
    queryOptions({
      queryKey: key(name, "only", has, not, columns),
      queryFn: ({ signal }) => read(`SELECT ${columns} FROM ${asOf(name, has)} EXCEPT SELECT ${columns} FROM ${asOf(name, not)} LIMIT ${CHANGES_MAX + 1}`, signal, CHANGES_MAX),
      staleTime: Number.POSITIVE_INFINITY,
      retry: false,
    }),
};

export const tableCommands = {
  analyze: (name: TableName) => request<ServiceRun>(`${pathOf(name)}/analyze`, { method: "POST" }),
  pauseServices: (paused: boolean) => request<Services>("/lakehouse/services", { method: "POST", body: { paused } }),
  run: change,
  createRef: (name: TableName, kind: "tag" | "branch", ref: string, snapshot: string) => change(createRefSql(name, kind, ref, snapshot)),
  dropRef: (name: TableName, kind: "tag" | "branch", ref: string) => change(dropRefSql(name, kind, ref)),
  publish: (name: TableName, branch: string) => change(publishSql(name, branch)),
  rollback: (name: TableName, snapshot: string) => change(rollbackSql(name, snapshot)),
};


export const createRefSql = (name: TableName, kind: "tag" | "branch", ref: string, snapshot: string) => `CALL create_${kind}(${tableText(name)}, ${literal(ref)}, ${snapshot})`;
export const dropRefSql = (name: TableName, kind: "tag" | "branch", ref: string) => `CALL drop_${kind}(${tableText(name)}, ${literal(ref)})`;
export const acceptSql = (name: TableName) => `CALL accept_schema_change(${tableText(name)})`;
export const rollbackSql = (name: TableName, snapshot: string) => `CALL rollback_to_snapshot(${tableText(name)}, ${snapshot})`;
export const publishSql = (name: TableName, branch: string) => `CALL fast_forward(${tableText(name)}, 'main', ${literal(branch)})`;
