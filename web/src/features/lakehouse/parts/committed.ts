import type { TableDetail } from "~/api/types";

/** Whether other engines see all that SQL sees. A table that no topic feeds has nothing else. */
export function isCommitted(table: Pick<TableDetail, "hot_rows" | "applied_offset" | "committed_offset">): boolean {
  return (table.hot_rows ?? 0) === 0 && isCommittedTo(table, table.applied_offset);
}

/** Whether all before an offset of the topic is in a commit. */
export function isCommittedTo(table: Pick<TableDetail, "committed_offset">, offset: number | null): boolean {
  return (table.committed_offset ?? 0) >= (offset ?? 0);
}
