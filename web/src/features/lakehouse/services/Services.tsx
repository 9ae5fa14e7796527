import { Button, Stack } from "@mantine/core";
import { IconChartHistogram, IconSparkles } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { lazy, Suspense, useMemo } from "react";
import { ApiError } from "~/api/client";
import { tableCommands, tableQueries } from "~/api/lakehouse";
import { tableRef } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { ErrorNote, Note } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { toast } from "~/components/toasts";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";
import { lineOf } from "../snapshots/lineage";
import { Runs } from "./Runs";
import { isName, savingsOf, sizesOf } from "./savings";
import { Switches } from "./Switches";

const EChart = lazy(() => import("~/ui/EChart"));

/** What keeps the table in shape: what it cost, what it saved, and what is to be done now. */
export function Services({ table }: { table: TableDetail }) {
  const runs = useQuery(tableQueries.runs(table));
  return (
    <Stack gap="md">
      <State table={table} />
      <Care table={table} />
      <Switches table={table} />
      <Storage table={table} />
      <Runs runs={runs} />
    </Stack>
  );
}

/** That the scheduler stands still, or what it does or waits for with this table. */
function State({ table }: { table: TableDetail }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const services = useQuery(tableQueries.services).data;
  const resume = useMutation({ mutationFn: () => tableCommands.pauseServices(false), onSettled: () => client.invalidateQueries({ queryKey: ["lakehouse"] }) });
  const running = services?.running.find((one) => one.table === table.name);
  const waiting = services?.waiting.find((one) => one.table === table.name);
  if (services?.paused) {
    return (
      <Note
        tone="warn"
        message={t("service.paused")}
        hint={t("service.paused_hint")}
        action={
          <Button variant="default" disabled={!may.edit} loading={resume.isPending} onClick={() => resume.mutate()}>
            {t("service.resume")}
          </Button>
        }
      />
    );
  }
  const now = running ?? waiting;
  if (!now) return null;
  return (
    <div role="status">
      {t(running ? "service.now" : "service.next")} <strong>{isName(now.service) ? t(`service.name.${now.service}`) : now.service}</strong> <span className="dim" lang="en">{now.reason}</span> <span className="dim"><When at={now.since} /></span>
      {!running && waiting?.blocked_by && <div className="dim" lang="en">{waiting.blocked_by}</div>}
    </div>
  );
}

/** Sums, and buttons to do it now. */
function Care({ table }: { table: TableDetail }) {
  const t = useT();
  const format = useFormat();
  const may = useMay();
  const client = useQueryClient();
  const runs = useQuery(tableQueries.runs(table)).data;
  const again = () => client.invalidateQueries({ queryKey: ["lakehouse"] });
  const optimize = useMutation({ mutationFn: () => tableCommands.run(`OPTIMIZE TABLE ${tableRef(table)}`), onSuccess: () => toast(t("service.optimized")), onSettled: again });
  const analyze = useMutation({ mutationFn: () => tableCommands.analyze(table), onSuccess: () => toast(t("service.analyzed")), onSettled: again });
  const sum = savingsOf(runs ?? []);
  const error = optimize.error ?? analyze.error;
  const unknown = analyze.error instanceof ApiError && analyze.error.status === 404;
  return (
    <Panel
      title={t("service.care")}
      note={runs && t("service.care_note", { count: runs.length })}
      actions={
        <>
          <Button variant="default" leftSection={<IconSparkles size={15} />} disabled={!may.edit} loading={optimize.isPending} title={t(may.edit ? "service.optimize_hint" : "common.not_allowed")} onClick={() => optimize.mutate()}>
            {t("service.optimize")}
          </Button>
          <Button variant="default" leftSection={<IconChartHistogram size={15} />} disabled={!may.edit} loading={analyze.isPending} title={t(may.edit ? "service.analyze_hint" : "common.not_allowed")} onClick={() => analyze.mutate()}>
            {t("service.analyze")}
          </Button>
        </>
      }
    >
      <Stack gap="md">
        {error && <ErrorNote error={unknown ? new ApiError(404, { kind: "not_found", message: t("service.old_server") }) : error} />}
        <Facts
          items={[
            { label: t("service.files_fewer"), value: format.count(sum.files) },
            { label: t("service.deletes"), hint: t("service.deletes_hint"), value: format.count(sum.deletes) },
            { label: t("service.freed"), value: format.bytes(sum.bytes_freed) },
            { label: t("service.snapshots"), value: format.count(sum.snapshots) },
            { label: t("service.cpu"), value: format.duration(sum.cpu_ms) },
            { label: t("service.moved"), hint: t("service.moved_hint"), value: format.bytes(sum.bytes_moved) },
          ]}
        />
      </Stack>
    </Panel>
  );
}

/** How large the table was after each commit. */
function Storage({ table }: { table: TableDetail }) {
  const t = useT();
  const format = useFormat();
  const sizes = useMemo(() => sizesOf(lineOf(table.snapshot_list, table.snapshot_id)), [table.snapshot_list, table.snapshot_id]);
  const series = useMemo(() => [{ name: t("col.size"), points: sizes }], [sizes, t]);
  if (sizes.length < 2) return null;
  return (
    <Panel title={t("service.storage")} note={t("service.storage_note")}>
      <Suspense fallback={<div style={{ height: 200 }} />}>
        <EChart label={t("service.storage")} type="line" axis="time" xName="" series={series} height={200} format={format.bytes} />
      </Suspense>
    </Panel>
  );
}
