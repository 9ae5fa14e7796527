import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import { Filters, matches } from "~/components/Filters";
import { Load } from "~/components/Load";
import { usePrincipal } from "~/components/principal";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { StateBadge } from "~/ui/StateBadge";

/** What was done by whom; each record's hash covers the one before it. */
export function Audit() {
  const t = useT();
  const who = usePrincipal();
  const format = useFormat();
  const [view, setView] = useView();
  const audit = useQuery(queries.audit);
  return (
    <Panel flush title={t("access.audit")} note={t("access.audit_note")} actions={<Filters label={t("access.search_audit")} />}>
      <Load query={audit}>
        {(items) => (
          <DataTable
            label={t("access.audit")}
            rows={items.filter((record) => matches(view.q, record.principal, who(record.principal), record.action, record.target, record.outcome))}
            rowKey={(record) => record.hash}
            sort={view.sort ?? "-at"}
            onSort={(sort) => setView({ sort })}
            columns={[
              { key: "at", header: t("col.at"), sort: (r) => r.at, cell: (r) => <span className="nowrap">{format.date(r.at)}</span> },
              { key: "principal", header: t("access.principal"), sort: (r) => r.principal, cell: (r) => who(r.principal) },
              { key: "action", header: t("access.action"), sort: (r) => r.action, cell: (r) => <span className="mono">{r.action}</span> },
              { key: "target", header: t("access.target"), grow: true, sort: (r) => r.target, cell: (r) => <span className="mono">{r.target}</span> },
              {
                key: "outcome",
                header: t("access.outcome"),
                sort: (r) => r.outcome,
                cell: (r) => <StateBadge tone={r.outcome === "ok" ? "ok" : "bad"} label={r.outcome === "ok" ? t("access.allowed") : r.outcome} />,
              },
              { key: "hash", header: t("access.hash"), cell: (r) => <span className="mono" title={r.hash}>{r.hash.slice(0, 10)}</span> },
            ]}
            empty={view.q ? <EmptyState title={t("common.no_match")} /> : <EmptyState title={t("access.no_audit")} text={t("access.no_audit_hint")} />}
          />
        )}
      </Load>
    </Panel>
  );
}
