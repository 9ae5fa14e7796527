import type { ServiceRun } from "~/api/services";
import type { Snapshot } from "~/api/types";

export interface Savings {
  runs: number;
  cpu_ms: number;
  bytes_moved: number;
  files: number;
  deletes: number;
  bytes_freed: number;
  snapshots: number;
}

/** What runs cost and what they saved, together. */
export function savingsOf(runs: ServiceRun[]): Savings {
  const sum: Savings = { runs: 0, cpu_ms: 0, bytes_moved: 0, files: 0, deletes: 0, bytes_freed: 0, snapshots: 0 };
  for (const run of runs.filter(({ state }) => state === "done")) {
    sum.runs += 1;
    sum.cpu_ms += run.cpu_ms ?? 0;
    sum.bytes_moved += run.bytes_read + run.bytes_written;
    sum.files += Math.max(0, run.files_before + run.delete_files_before - run.files_after - run.delete_files_after);
    sum.deletes += run.deletes_removed;
    sum.bytes_freed += run.bytes_freed;
    sum.snapshots += run.snapshots_removed;
  }
  return sum;
}

/** Bytes of the files that the table consisted of after each commit that says so, oldest first. */
export function sizesOf(snapshots: Snapshot[]): [string, number][] {
  return snapshots
    .filter((snapshot) => "total-files-size" in snapshot.summary)
    .toReversed()
    .map((snapshot) => [snapshot.at, Number(snapshot.summary["total-files-size"])]);
}

/** Services that can be switched off by a property of the table. */
export const SWITCHES = ["compact", "expire", "orphans", "manifests", "statistics"] as const;
export type Switch = (typeof SWITCHES)[number];

export const propertyOf = (service: Switch | "all") => (service === "all" ? "tarn.services.enabled" : `tarn.services.${service}.enabled`);
export const isOn = (properties: Record<string, string>, service: Switch | "all") => properties[propertyOf(service)] !== "false";

/** Whether there is a word for a service; a newer server may have others. */
export const isName = (service: string): service is ServiceRun["service"] => ["compact", "expire", "orphans", "manifests", "statistics"].includes(service);
