import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { recordRates } from "./source-rates";
import type { Changed, Overview, RatePoint } from "./types";

/** Whether what is on screen is what happens now. */
export type Connection = "connecting" | "live" | "retrying";

export interface LiveState {
  connection: Connection;
  /** Attempts since the stream broke; decides how long the next one waits. */
  attempts: number;
  /** When the last event came, milliseconds since 1970. */
  seen_ms: number;
}

export type LiveAction =
  | { type: "open"; at_ms: number }
  | { type: "event"; at_ms: number }
  | { type: "lost" }
  | { type: "tick"; at_ms: number };

export const initialLive: LiveState = { connection: "connecting", attempts: 0, seen_ms: 0 };

/** Events come each second; this long without one means that the stream is dead though its socket is not. */
export const SILENCE_MS_MAX = 10_000;
const WAIT_MS_MAX = 15_000;

export function reduceLive(state: LiveState, action: LiveAction): LiveState {
  switch (action.type) {
    case "open":
    case "event":
      return { connection: "live", attempts: 0, seen_ms: action.at_ms };
    case "lost":
      return { ...state, connection: "retrying", attempts: state.attempts + 1 };
    case "tick":
      if (state.connection === "live" && action.at_ms - state.seen_ms > SILENCE_MS_MAX) {
        return { ...state, connection: "retrying", attempts: state.attempts + 1 };
      }
      return state;
  }
}

/** Half a second, doubled per attempt, at most 15 s. */
export function waitBefore(attempt: number): number {
  return Math.min(WAIT_MS_MAX, 500 * 2 ** Math.max(0, attempt - 1));
}

/** Which cached answers an event makes old. */
export function staleKeys(changed: Changed): string[] {
  switch (changed.kind) {
    case "source":
      return ["ingest", "resource"];
    case "table":
      return ["lakehouse", "completion"];
    case "topic":
      return ["eventlog"];
    case "resource":
      return ["resource", "revision", "ingest", "eventlog", "lakehouse", "completion"];
    case "user":
    case "key":
    case "secret":
      return ["users", "keys", "secrets", "audit"];
    default:
      return [changed.kind];
  }
}

/** Joins the points of two answers by time, so that a chart goes on where it stood after a reconnect. */
export function joinRates(before: RatePoint[], after: RatePoint[], window_ms: number): RatePoint[] {
  const newest = after.at(-1)?.at_ms;
  if (newest === undefined) return before;
  const first = after[0]?.at_ms ?? newest;
  const kept = before.filter((point) => point.at_ms < first && point.at_ms >= newest - window_ms);
  return [...kept, ...after];
}

let state = initialLive;
const listeners = new Set<() => void>();

function dispatch(action: LiveAction): void {
  const next = reduceLive(state, action);
  if (next === state) return;
  state = next;
  for (const listener of listeners) listener();
}

/** Follows the event stream until the returned function is called. */
export function followEvents(client: QueryClient): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const close = () => {
    source?.close();
    source = undefined;
  };
  const retry = () => {
    close();
    clearTimeout(timer);
    timer = setTimeout(open, waitBefore(state.attempts));
  };
  const open = () => {
    close();
    source = new EventSource("/api/v1/events", { withCredentials: true });
    source.onopen = () => dispatch({ type: "open", at_ms: Date.now() });
    source.addEventListener("overview", (event) => {
      dispatch({ type: "event", at_ms: Date.now() });
      const data = JSON.parse(event.data as string) as Overview;
      recordRates(data, Date.now());
      client.setQueryData<Overview>(["overview"], (old) => ({
        ...data,
        rates: joinRates(old?.rates ?? [], data.rates, 300_000),
      }));
    });
    source.addEventListener("changed", (event) => {
      dispatch({ type: "event", at_ms: Date.now() });
      for (const key of staleKeys(JSON.parse(event.data as string) as Changed)) {
        void client.invalidateQueries({ queryKey: [key] });
      }
    });
    // The browser gives up on an HTTP error, so the retry is ours in every case.
    source.onerror = () => {
      dispatch({ type: "lost" });
      retry();
    };
  };
  const watch = setInterval(() => {
    const before = state;
    dispatch({ type: "tick", at_ms: Date.now() });
    if (before !== state) retry();
  }, 2000);

  open();
  return () => {
    clearInterval(watch);
    clearTimeout(timer);
    close();
  };
}

/** Tells whether the screen is live. */
export function useConnection(): Connection {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => state.connection,
  );
}
