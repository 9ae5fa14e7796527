import type { SourceState, TableSummary } from "~/api/types";
import type { MessageKey } from "~/i18n";
import type { Tone } from "~/ui/StateBadge";

export const SOURCE_STATES: SourceState[] = [
  "streaming",
  "snapshot",
  "idle",
  "starting",
  "paused",
  "backing_off",
  "failed",
  "done",
];

export const sourceTone: Record<SourceState, Tone> = {
  starting: "info",
  snapshot: "info",
  streaming: "ok",
  idle: "ok",
  paused: "quiet",
  backing_off: "warn",
  failed: "bad",
  done: "quiet",
};

export const tableTone: Record<TableSummary["state"], Tone> = { ok: "ok", behind: "warn", failed: "bad" };

export const sourceWord = (state: SourceState): MessageKey => `source.state.${state}`;
export const tableWord = (state: TableSummary["state"]): MessageKey => `table.state.${state}`;
