import { expect, it } from "vitest";
import type { ServiceRun } from "~/api/services";
import { isOn, propertyOf, savingsOf } from "./savings";

const run = (more: Partial<ServiceRun>): ServiceRun => ({
  id: "1", table: "shop.item", service: "compact", strategy: "minor", trigger: "automatic", reason: "", state: "done", started_at: "2026-01-31T12:00:00Z", duration_ms: 1, cpu_ms: null, bytes_read: 0, bytes_written: 0, rows_written: 0,
  files_before: 0, files_after: 0, delete_files_before: 0, delete_files_after: 0, deletes_removed: 0, files_removed: 0, bytes_freed: 0, snapshots_removed: 0, manifests_before: 0, manifests_after: 0, snapshot_id: null, message: null, hint: null, ...more,
});

it("sums what was done, and leaves out what failed", () => {
  const runs = [
    run({ cpu_ms: 300, bytes_read: 70, bytes_written: 30, files_before: 18, files_after: 2, delete_files_before: 6, deletes_removed: 4300 }),
    run({ service: "expire", bytes_freed: 500, snapshots_removed: 25, files_before: 2, files_after: 2 }),
    run({ state: "failed", bytes_read: 1_000_000, files_before: 9 }),
  ];
  expect(savingsOf(runs)).toEqual({ runs: 2, cpu_ms: 300, bytes_moved: 100, files: 22, deletes: 4300, bytes_freed: 500, snapshots: 25 });
});

it("takes a service for on unless the table says otherwise", () => {
  expect(isOn({}, "expire")).toBe(true);
  expect(isOn({ [propertyOf("expire")]: "false" }, "expire")).toBe(false);
  expect(propertyOf("all")).toBe("tarn.services.enabled");
});
