import { queryOptions } from "@tanstack/react-query";
import { errorOf, request } from "./client";
import type { Items } from "./types";

/** What is asked for; only `path` and `into` are needed, and what is left out is found out. */
export interface ImportRequest {
  path: string;
  into: string;
  dry_run?: boolean;
  /** `register`: Parquet files become files of the table and stay where they are. */
  mode?: "create" | "append" | "replace" | "register";
  format?: string;
  compression?: string;
  csv?: { header?: boolean; delimiter?: string; quote?: string; null?: string[]; encoding?: string };
  excel?: { sheet?: string; range?: string };
  delta?: { version?: number; timestamp?: string };
  iceberg?: { snapshot?: string; ref?: string };
  columns?: { name: string; type: string }[];
  only_new?: boolean;
  infer_rows?: number;
  hive?: boolean;
  partition_by?: string[];
  key?: string[];
  on_error?: "fail" | "skip" | "quarantine";
  errors_max?: number;
  s3?: { endpoint?: string; region?: string; access_key_id?: string; secret_access_key?: { secret: string }; allow_http?: boolean };
}

export interface ImportColumn {
  name: string;
  type: string;
  from_path: boolean;
  values: number;
  nulls: number;
  samples: string[];
  reason: string | null;
}

export interface ImportPlan {
  format: string;
  compression: string;
  /** Of a table of another lake: the version (Delta) or snapshot (Iceberg) that is read. */
  version?: string | null;
  /** Of Excel: which sheet is read, and which there are. */
  excel?: { sheet?: string | null; range?: string | null; sheets?: string[] } | null;
  csv: { header: boolean; delimiter: string; quote: string; null: string[]; encoding: string } | null;
  files: number;
  bytes: number;
  first_files: { path: string; bytes: number; partition?: Record<string, string> | null }[];
  rows_seen: number;
  table: { name: string; exists: boolean; partition_by: string[]; key: string[] };
  columns: ImportColumn[];
  sample_rows: (string | null)[][];
  warnings: string[];
}

export interface Import {
  id: string;
  state: "running" | "verifying" | "done" | "failed" | "cancelled";
  path: string;
  into: string;
  mode: string;
  created_ms: number;
  ended_ms: number | null;
  by: string;
  progress: { files_total: number; files_done: number; bytes_total: number; bytes_done: number; rows: number; problems: number };
  error: { kind: string; message: string; hint?: string | null } | null;
  plan?: ImportPlan;
  report: {
    rows_read: number;
    rows_added: number;
    problems: number;
    snapshot_id: string | null;
    verified: boolean | null;
    detail: string;
    hash_read?: string | null;
    hash_table?: string | null;
    columns?: { name: string; hash_read: string; hash_table: string; equal: boolean }[];
  } | null;
}

export interface ImportProblem {
  file: string;
  line: number;
  reason: string;
  record: string;
}

/** Whether there is a word for what became of the table; a newer server may have others. */
export const isMode = (mode: string): mode is "create" | "append" | "replace" | "register" | "cutover" => ["create", "append", "replace", "register", "cutover"].includes(mode);
export const isUnderWay = (state: Import["state"]) => state === "running" || state === "verifying";
const segment = encodeURIComponent;
const post = <R>(path: string, body?: unknown) => request<R>(path, { method: "POST", body });

export const importQueries = {
  list: queryOptions({
    queryKey: ["imports", "list"] as const,
    queryFn: async ({ signal }): Promise<Import[]> => (await request<Items<Import>>("/imports", { signal })).items,
    refetchInterval: 3000,
    retry: false,
  }),
  one: (id: string) =>
    queryOptions({
      queryKey: ["imports", "one", id] as const,
      queryFn: ({ signal }) => request<Import>(`/imports/${segment(id)}`, { signal }),
      refetchInterval: (query) => (query.state.data && !isUnderWay(query.state.data.state) ? false : 1000),
    }),
  /** What the server can do, from its own description. */
  abilities: queryOptions({
    queryKey: ["imports", "abilities"] as const,
    queryFn: ({ signal }) => request<object>("/openapi.json", { signal, base: "" }),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  }),
  problems: (id: string, count: number) =>
    queryOptions({
      queryKey: ["imports", "problems", id, count] as const,
      queryFn: async ({ signal }): Promise<ImportProblem[]> => (await request<Items<ImportProblem>>(`/imports/${segment(id)}/problems?limit=200`, { signal })).items,
    }),
};

export const importCommands = {
  plan: (body: ImportRequest) => post<{ plan: ImportPlan }>("/imports", { ...body, dry_run: true }).then(({ plan }) => plan),
  start: (body: ImportRequest) => post<Import>("/imports", body),
  /** The table goes on without the files that were registered: they are copied into it. Listed as an import. */
  cutOver: (into: string) => post<Import>("/imports/cutover", { into }),
  cancel: (id: string) => post<Import>(`/imports/${segment(id)}/cancel`),
  resume: (id: string) => post<Import>(`/imports/${segment(id)}/resume`),
  /** Sends a file of this computer; it is kept some days for an import to read. */
  upload: async (file: File): Promise<{ path: string; bytes: number }> => {
    const response = await fetch(`/api/v1/imports/uploads?name=${segment(file.name)}`, { method: "POST", body: file, credentials: "same-origin", headers: { "content-type": "application/octet-stream" } });
    if (!response.ok) throw await errorOf(response);
    return (await response.json()) as { path: string; bytes: number };
  },
};

