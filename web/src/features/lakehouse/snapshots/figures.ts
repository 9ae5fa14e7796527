import type { Snapshot } from "~/api/types";

/** What a commit did, told by the counts that its writer left in the snapshot. */
export interface Figures {
  /** Compaction writes the same rows again: to a reader of the table nothing changed. */
  rewritten: boolean;
  added_rows: number;
  deleted_rows: number;
  added_files: number;
  removed_files: number;
  /** Bytes of files that came, less those of files that went. */
  bytes: number;
  live_rows: number;
}

export function figuresOf(snapshot: Snapshot): Figures {
  const count = (key: string) => Number(snapshot.summary[key] ?? 0);
  const known = "added-data-files" in snapshot.summary || "total-records" in snapshot.summary;
  const rewritten = snapshot.operation === "replace";
  // A commit writes the delete file of a data file anew, so the deletes that were in the old one are counted twice.
  const deleted = count("deleted-records") + count("added-position-deletes") + count("added-equality-deletes") - count("removed-position-deletes");
  const total = "total-records" in snapshot.summary ? count("total-records") - count("total-position-deletes") : snapshot.total_rows;
  return {
    rewritten,
    added_rows: rewritten ? 0 : snapshot.added_rows,
    deleted_rows: rewritten ? 0 : Math.max(0, known ? deleted : snapshot.deleted_rows),
    added_files: known ? count("added-data-files") + count("added-delete-files") : snapshot.added_files,
    removed_files: count("deleted-data-files") + count("removed-delete-files"),
    bytes: count("added-files-size") - count("removed-files-size"),
    live_rows: total,
  };
}

/** What to call a commit. Writers call most of what SQL does `overwrite`, so the rows tell more than the name. */
export function kindOf(snapshot: Snapshot): "append" | "delete" | "overwrite" | "replace" | undefined {
  const { rewritten, added_rows, deleted_rows } = figuresOf(snapshot);
  if (rewritten) return "replace";
  if (added_rows > 0 && deleted_rows > 0) return "overwrite";
  if (added_rows > 0) return "append";
  if (deleted_rows > 0) return "delete";
  return (["append", "delete", "overwrite"] as const).find((known) => known === snapshot.operation);
}

/** The program that wrote a commit, as it named itself. */
export function writerOf({ summary }: Snapshot): string | undefined {
  const name = summary["engine-name"] ?? (summary["spark.app.id"] ? "spark" : undefined);
  const version = summary["engine-version"];
  if (name) return version ? `${name} ${version}` : name;
  return summary["iceberg-version"];
}
