import type { TableSummary } from "~/api/types";

export interface SchemaNote {
  at_ms: number;
  change: string;
  outcome: string;
}

/** Properties that hold documents of Tarn and are shown elsewhere in words. */
export const OWN_PROPERTIES = ["tarn.schema.changes", "tarn.schema.accepted"];

/** Whether a table waits for somebody to decide about a change at its source. The server's hint says how. */
export const standsStill = ({ state, hint }: Pick<TableSummary, "state" | "hint">): boolean => state === "failed" && /accept_schema_change/.test(hint ?? "");

/** A table as its source names it, which is how settings of the source name it: topics are called `<source>.<table there>`. */
export const atSource = (source: string, topic: string): string => (topic.startsWith(`${source}.`) ? topic.slice(source.length + 1) : topic);

const isNote = (value: unknown): value is SchemaNote =>
  typeof value === "object" && value !== null && "at_ms" in value && typeof value.at_ms === "number" && "change" in value && typeof value.change === "string" && "outcome" in value && typeof value.outcome === "string";

/** What the sink wrote down about changes of the source's columns, the newest first; anything unreadable is dropped. */
export function notesOf(properties: Record<string, string>): SchemaNote[] {
  try {
    const value: unknown = JSON.parse(properties["tarn.schema.changes"] ?? "[]");
    return Array.isArray(value) ? value.filter(isNote).toReversed() : [];
  } catch {
    return [];
  }
}
