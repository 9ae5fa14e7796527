/** One run of a service that looks after a table. */
export interface ServiceRun {
  id: string;
  table: string;
  service: "compact" | "expire" | "orphans" | "manifests" | "statistics";
  strategy: string | null;
  trigger: "automatic" | "statement" | "api";
  reason: string;
  /** `nothing`: it looked, and found nothing to do. */
  state: "running" | "done" | "nothing" | "failed";
  started_at: string;
  duration_ms: number;
  cpu_ms: number | null;
  bytes_read: number;
  bytes_written: number;
  rows_written: number;
  files_before: number;
  files_after: number;
  delete_files_before: number;
  delete_files_after: number;
  deletes_removed: number;
  files_removed: number;
  bytes_freed: number;
  snapshots_removed: number;
  manifests_before: number;
  manifests_after: number;
  snapshot_id: string | null;
  message: string | null;
  hint: string | null;
}

/** What looks after tables at the moment, and what comes next. */
export interface Services {
  paused: boolean;
  running: { table: string; service: string; reason: string; since: string }[];
  waiting: { table: string; service: string; reason: string; since: string; blocked_by: string | null }[];
}
