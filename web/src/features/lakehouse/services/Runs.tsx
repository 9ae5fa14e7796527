import type { UseQueryResult } from "@tanstack/react-query";
import { ApiError } from "~/api/client";
import type { ServiceRun } from "~/api/services";
import { Load } from "~/components/Load";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { isName } from "./savings";
import { Prose } from "~/ui/Prose";
import { StateBadge, type Tone } from "~/ui/StateBadge";

const TONES: Record<ServiceRun["state"], Tone> = { running: "info", done: "ok", nothing: "quiet", failed: "bad" };

/** Each run with its reason, what it cost and what it saved. */
export function Runs({ runs }: { runs: UseQueryResult<ServiceRun[]> }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  if (runs.error instanceof ApiError && runs.error.status === 404) {
    return (
      <Panel title={t("service.runs")}>
        <EmptyState title={t("service.no_runs")} text={t("service.old_server")} />
      </Panel>
    );
  }
  return (
    <Panel flush title={t("service.runs")}>
      <Load query={runs}>
        {(items) => (
          <DataTable
            label={t("service.runs")}
            rows={items}
            rowKey={(run) => run.id}
            rowsShown={25}
            sort={view.sort}
            onSort={(sort) => setView({ sort })}
            columns={[
              { key: "service", header: t("service.service"), sort: (run) => run.service, cell: (run) => <span className="nowrap">{isName(run.service) ? t(`service.name.${run.service}`) : run.service}{run.strategy && <span className="dim" lang="en"> {run.strategy}</span>}</span> },
              { key: "at", header: t("col.at"), sort: (run) => run.started_at, cell: (run) => <When at={run.started_at} /> },
              { key: "state", header: t("col.state"), sort: (run) => run.state, cell: (run) => <StateBadge tone={TONES[run.state]} label={t(`service.state.${run.state}`)} pulse={run.state === "running"} /> },
              { key: "reason", header: t("service.reason"), grow: true, width_min: 220, cell: (run) => <Reason run={run} /> },
              { key: "saved", header: t("service.saved"), width_min: 150, cell: (run) => <Saved run={run} /> },
              {
                key: "took",
                header: t("service.cost"),
                numeric: true,
                sort: (run) => run.duration_ms,
                cell: (run) => (
                  <div title={run.cpu_ms === null ? undefined : t("service.cpu_of", { time: format.duration(run.cpu_ms) })}>
                    {format.duration(run.duration_ms)}
                    {run.bytes_read + run.bytes_written > 0 && <div className="dim">{format.bytes(run.bytes_read + run.bytes_written)}</div>}
                  </div>
                ),
              },
            ]}
            empty={<EmptyState title={t("service.no_runs")} text={t("service.no_runs_hint")} />}
          />
        )}
      </Load>
    </Panel>
  );
}

function Reason({ run }: { run: ServiceRun }) {
  const t = useT();
  return (
    <div>
      <span lang="en">{run.reason}</span> <span className="dim">{t(`service.trigger.${run.trigger}`)}</span>
      {run.message && (
        <div style={{ color: "var(--bad)" }} lang="en">
          <Prose text={run.message} />
          {run.hint && <div className="dim"><Prose text={run.hint} /></div>}
        </div>
      )}
    </div>
  );
}

function Saved({ run }: { run: ServiceRun }) {
  const t = useT();
  const format = useFormat();
  const files = [run.files_before + run.delete_files_before, run.files_after + run.delete_files_after] as const;
  const parts = [
    ...(files[0] === files[1] ? [] : [t("service.saved_files", { before: files[0], after: files[1] })]),
    ...(run.deletes_removed > 0 ? [t("service.saved_deletes", { count: run.deletes_removed })] : []),
    ...(run.snapshots_removed > 0 ? [t("service.saved_snapshots", { count: run.snapshots_removed })] : []),
    ...(run.manifests_before > run.manifests_after ? [t("service.saved_manifests", { before: run.manifests_before, after: run.manifests_after })] : []),
    ...(run.bytes_freed > 0 ? [t("service.saved_bytes", { bytes: format.bytes(run.bytes_freed) })] : []),
  ];
  if (parts.length === 0) return <span className="dim">–</span>;
  return (
    <div>
      {parts.map((part) => (
        <div key={part}>{part}</div>
      ))}
    </div>
  );
}
