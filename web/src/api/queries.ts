import { keepPreviousData, queryOptions } from "@tanstack/react-query";
import { request, send } from "./client";
import type * as T from "./types";

/** How often lists are read again while they are on screen; `changed` events refresh them at once. */
const LIST_MS = 3000;
const segment = encodeURIComponent;

function list<I>(key: string, path = `/${key}`, every: number | false = LIST_MS) {
  return queryOptions({
    queryKey: [key, "list"] as const,
    queryFn: ({ signal }) => request<T.Items<I>>(path, { signal }).then((answer) => answer.items),
    refetchInterval: every,
  });
}

export const queries = {
  session: queryOptions({
    queryKey: ["session"] as const,
    queryFn: ({ signal }) => request<T.Session>("/session", { signal }),
    staleTime: 60_000,
  }),
  // The event stream writes here each second; the request only fills the first screen.
  overview: queryOptions({
    queryKey: ["overview"] as const,
    queryFn: ({ signal }) => request<T.Overview>("/overview", { signal }),
    staleTime: 10_000,
  }),

  sources: list<T.SourceSummary>("ingest"),
  source: (name: string) =>
    queryOptions({
      queryKey: ["ingest", "one", name] as const,
      queryFn: ({ signal }) => request<T.SourceDetail>(`/ingest/${segment(name)}`, { signal }),
      refetchInterval: 2000,
    }),
  sourceTypes: queryOptions({
    queryKey: ["ingest-types"] as const,
    queryFn: ({ signal }) => request<T.Items<T.SourceType>>("/ingest/types", { signal }).then((answer) => answer.items),
    staleTime: Number.POSITIVE_INFINITY,
  }),
  deadLetters: (name: string) =>
    queryOptions({
      queryKey: ["ingest", "dead-letters", name] as const,
      queryFn: ({ signal }) =>
        request<T.Items<T.DeadLetter>>(`/ingest/${segment(name)}/dead-letters?limit=200`, { signal }).then((a) => a.items),
      refetchInterval: LIST_MS,
    }),

  topics: list<T.TopicSummary>("eventlog"),
  topic: (name: string) =>
    queryOptions({
      queryKey: ["eventlog", "one", name] as const,
      queryFn: ({ signal }) => request<T.TopicDetail>(`/eventlog/${segment(name)}`, { signal }),
      refetchInterval: LIST_MS,
    }),
  topicRows: (name: string, at: { partition: number; offset: number | null; limit: number; tail: boolean }) =>
    queryOptions({
      queryKey: ["eventlog", "rows", name, at] as const,
      queryFn: ({ signal }) => {
        const query = new URLSearchParams({ partition: String(at.partition), limit: String(at.limit) });
        if (at.offset !== null) query.set("offset", String(at.offset));
        return request<T.TopicRows>(`/eventlog/${segment(name)}/rows?${query}`, { signal });
      },
      refetchInterval: at.tail ? 2000 : (false as const),
      placeholderData: keepPreviousData,
    }),

  tables: list<T.TableSummary>("lakehouse"),
  table: (namespace: string, table: string) =>
    queryOptions({
      queryKey: ["lakehouse", "one", namespace, table] as const,
      queryFn: ({ signal }) => request<T.TableDetail>(`/lakehouse/${segment(namespace)}/${segment(table)}`, { signal }),
      refetchInterval: LIST_MS,
    }),
  tablePreview: (namespace: string, table: string, snapshot: string | undefined) =>
    queryOptions({
      queryKey: ["lakehouse", "preview", namespace, table, snapshot ?? ""] as const,
      queryFn: ({ signal }) => {
        const query = new URLSearchParams({ limit: "100" });
        if (snapshot) query.set("snapshot", snapshot);
        return request<T.QueryResult>(`/lakehouse/${segment(namespace)}/${segment(table)}/preview?${query}`, { signal });
      },
    }),

  runs: list<T.QueryRun>("query"),
  completion: queryOptions({
    queryKey: ["completion"] as const,
    queryFn: ({ signal }) => request<T.Completion>("/query/completion", { signal }),
    staleTime: 30_000,
  }),

  resources: list<T.Resource>("resource"),
  revisions: list<T.Revision>("revision", "/resource/revisions"),
  revision: (revision: string) =>
    queryOptions({
      queryKey: ["revision", "one", revision] as const,
      queryFn: ({ signal }) => request<T.Revision>(`/resource/revisions/${segment(revision)}`, { signal }),
    }),

  users: list<T.User>("users", "/access/users", false),
  keys: list<T.ApiKey>("keys", "/access/keys", false),
  secrets: list<T.Secret>("secrets", "/access/secrets", false),
  audit: list<T.AuditRecord>("audit", "/access/audit?limit=500", LIST_MS),
};

const post = <R = void>(path: string, body?: unknown, signal?: AbortSignal) =>
  request<R>(path, { method: "POST", body, signal });
const remove = (path: string) => request<void>(path, { method: "DELETE" });

export const commands = {
  signIn: (user: string, password: string) => post("/session", { user, password }),
  signOut: () => remove("/session"),

  source: (name: string, verb: "restart" | "pause" | "resume") => post(`/ingest/${segment(name)}/${verb}`),
  checkSource: (type: string, config: T.Json) => post<T.CheckResult>("/ingest/check", { type, config }),
  compact: (namespace: string, table: string) =>
    post<T.CompactResult>(`/lakehouse/${segment(namespace)}/${segment(table)}/compact`),
  flush: (namespace: string, table: string) =>
    post<T.TableDetail>(`/lakehouse/${segment(namespace)}/${segment(table)}/flush`),

  query: (body: T.QueryRequest, signal?: AbortSignal) => post<T.QueryResult>("/query", body, signal),
  queryFile: (body: T.QueryRequest) => send("/query", { method: "POST", body }).then((answer) => answer.blob()),
  cancelQuery: (id: string) => remove(`/query/${segment(id)}`),

  plan: (body: T.PlanRequest) => post<T.Plan>("/resource/plan", body),
  apply: (body: T.ApplyRequest) => post<T.Applied>("/resource/apply", body),
  rollback: (revision: number) => post<T.Applied>("/resource/rollback", { revision }),
  exportResources: () => send("/resource/export").then((answer) => answer.text()),
  writeBack: () => post<{ files: string[] }>("/resource/write-back"),

  createUser: (body: { name: string; role: T.Role; password: string }) => post("/access/users", body),
  deleteUser: (name: string) => remove(`/access/users/${segment(name)}`),
  createKey: (body: { name: string; role: T.Role; expires_in?: string }) => post<T.NewApiKey>("/access/keys", body),
  deleteKey: (id: string) => remove(`/access/keys/${segment(id)}`),
  putSecret: (name: string, value: string) =>
    request<void>(`/access/secrets/${segment(name)}`, { method: "PUT", body: { value } }),
  deleteSecret: (name: string) => remove(`/access/secrets/${segment(name)}`),
};
