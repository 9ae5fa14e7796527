import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import { Load } from "~/components/Load";
import { paths } from "~/components/paths";
import { ActionBadge } from "~/components/PlanView";
import { usePrincipal } from "~/components/principal";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";

/** What was applied, newest first. */
export function Revisions() {
  const t = useT();
  const who = usePrincipal();
  const revisions = useQuery(queries.revisions);
  return (
    <Panel flush>
      <Load query={revisions}>
        {(items) => (
          <DataTable
            label={t("resource.revisions")}
            rows={items}
            rowKey={(one) => String(one.revision)}
            columns={[
              {
                key: "revision",
                header: t("resource.revision"),
                width_min: 92,
                cell: (one) => <TextLink href={paths.revision(one.revision)}>{t("resource.revision_number", { number: one.revision })}</TextLink>,
              },
              { key: "message", header: t("col.message"), width_min: 240, cell: (one) => <span lang="en">{one.message ?? "–"}</span> },
              {
                key: "changes",
                header: t("resource.plan"),
                grow: true,
                cell: (one) => (
                  <span style={{ display: "inline-flex", flexWrap: "wrap", gap: "4px 12px" }}>
                    {one.changes.map((change) => (
                      <span key={`${change.kind}/${change.name}`} className="nowrap">
                        <ActionBadge action={change.action} /> {change.kind} {change.name}
                      </span>
                    ))}
                  </span>
                ),
              },
              { key: "author", header: t("resource.author"), cell: (one) => who(one.author) },
              { key: "at", header: t("col.at"), numeric: true, cell: (one) => <When at={one.at} /> },
            ]}
            empty={<EmptyState title={t("resource.no_revisions")} text={t("resource.none_hint")} />}
          />
        )}
      </Load>
    </Panel>
  );
}
