import { useCallback, useRef, useState } from "react";
import { commands } from "~/api/queries";
import { ApiError } from "~/api/client";
import type { QueryResult } from "~/api/types";
import { remember } from "./history";

export type RunState =
  | { state: "new" }
  | { state: "running"; sql: string; started_ms: number }
  | { state: "done"; sql: string; result: QueryResult; explained: boolean }
  | { state: "failed"; sql: string; error: unknown }
  | { state: "cancelled"; sql: string };

export interface RunOptions {
  explain?: boolean;
  limit?: number;
  /** It may change something: only what a person has before their eyes and runs by hand. */
  changes?: boolean;
}

/** Whether a text looks like one that changes something; the server knows for sure. */
export function isChange(sql: string): boolean {
  const first = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)*([a-z]+)/i.exec(sql)?.[1]?.toLowerCase() ?? "";
  return ["insert", "update", "delete", "merge", "truncate", "create", "alter", "drop", "optimize"].includes(first);
}

/** Random, also where the page is not served over HTTPS and `crypto.randomUUID` is missing. */
function newQueryId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Runs one query at a time; a new one cancels the one before. */
export function useRun() {
  const [run, setRun] = useState<RunState>({ state: "new" });
  const current = useRef<{ id: string; abort: AbortController } | null>(null);

  const cancel = useCallback(() => {
    const running = current.current;
    if (!running) return;
    current.current = null;
    // The server stops the work; the request is dropped even if it cannot be told.
    void commands.cancelQuery(running.id).catch(() => undefined);
    running.abort.abort();
  }, []);

  const start = useCallback(
    async (sql: string, { explain = false, limit, changes = false }: RunOptions = {}) => {
      if (sql.trim() === "") return;
      cancel();
      const own = { id: newQueryId(), abort: new AbortController() };
      current.current = own;
      const started_ms = Date.now();
      setRun({ state: "running", sql, started_ms });
      try {
        const result = await commands.query({ sql, query_id: own.id, ...(changes ? {} : { read_only: true }), ...(explain ? { explain } : {}), ...(limit ? { limit } : {}) }, own.abort.signal);
        if (current.current !== own) return;
        setRun({ state: "done", sql, result, explained: explain });
        remember({ sql, at_ms: started_ms, state: "done", elapsed_ms: result.elapsed_ms, rows: result.row_count });
      } catch (error) {
        if (own.abort.signal.aborted) {
          setRun((now) => (now.state === "running" && now.started_ms === started_ms ? { state: "cancelled", sql } : now));
          return;
        }
        if (current.current !== own) return;
        setRun({ state: "failed", sql, error });
        const message = error instanceof ApiError ? error.message : String(error);
        remember({ sql, at_ms: started_ms, state: "failed", elapsed_ms: Date.now() - started_ms, rows: 0, message });
      } finally {
        if (current.current === own) current.current = null;
      }
    },
    [cancel],
  );

  return { run, start, cancel };
}
