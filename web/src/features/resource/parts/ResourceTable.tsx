import { Button, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { Resource } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Filters, matches } from "~/components/Filters";
import { Load } from "~/components/Load";
import { paths } from "~/components/paths";
import { usePrincipal } from "~/components/principal";
import { TextLink } from "~/components/TextLink";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { StateBadge, type Tone } from "~/ui/StateBadge";

const TONES: Record<Resource["state"], Tone> = { active: "ok", pending: "info", failed: "bad" };

export function ResourceStateBadge({ state }: { state: Resource["state"] }) {
  const t = useT();
  return <StateBadge tone={TONES[state]} label={t(`resource.state.${state}`)} pulse={state === "pending"} />;
}

/** Everything that was declared. */
export function ResourceTable() {
  const resources = useQuery(queries.resources);
  return <Load query={resources}>{(items) => <Shown resources={items} />}</Load>;
}

function Shown({ resources }: { resources: Resource[] }) {
  const t = useT();
  const who = usePrincipal();
  const format = useFormat();
  const [view, setView] = useView();
  const shown = resources.filter((one) => matches(view.q, one.name, one.kind, one.yaml) && (!view.kind || one.kind === view.kind));
  const kinds = [...new Set(resources.map((one) => one.kind))].sort();
  return (
    <Panel
      flush
      title={t("resource.count", { count: shown.length })}
      actions={
        <Filters
          label={t("resource.search")}
          choices={[{ key: "kind", label: t("resource.kind"), options: kinds.map((value) => ({ value, label: value })) }]}
        />
      }
    >
      <DataTable
        label={t("nav.resources")}
        rows={shown}
        rowKey={(one) => `${one.kind}/${one.name}`}
        sort={view.sort ?? "name"}
        onSort={(sort) => setView({ sort })}
        columns={[
          {
            key: "name",
            header: t("col.name"),
            grow: true,
            sort: (one) => one.name,
            cell: (one) => (
              <>
                <TextLink href={paths.resource(one.kind, one.name)}>{one.name}</TextLink>
                {one.message && (
                  <Text size="xs" c={one.state === "failed" ? "var(--bad)" : "dimmed"} lang="en">
                    {one.message}
                  </Text>
                )}
              </>
            ),
          },
          { key: "kind", header: t("resource.kind"), sort: (one) => one.kind, cell: (one) => <span className="mono">{one.kind}</span> },
          { key: "state", header: t("col.state"), sort: (one) => one.state, cell: (one) => <ResourceStateBadge state={one.state} /> },
          {
            key: "revision",
            header: t("resource.revision"),
            numeric: true,
            sort: (one) => one.revision,
            cell: (one) => <TextLink href={paths.revision(one.revision)}>{format.count(one.revision)}</TextLink>,
          },
          { key: "author", header: t("resource.author"), sort: (one) => one.author, cell: (one) => who(one.author) },
          { key: "at", header: t("resource.changed"), numeric: true, sort: (one) => one.updated_at, cell: (one) => <When at={one.updated_at} /> },
        ]}
        empty={
          resources.length === 0 ? (
            <EmptyState
              title={t("resource.none")}
              text={t("resource.none_hint")}
              code="tarn apply resources/"
              action={
                <Button component={AppLink} href={paths.newResource}>
                  {t("resource.new")}
                </Button>
              }
            />
          ) : (
            <EmptyState
              title={t("common.no_match")}
              action={
                <Button variant="default" onClick={() => setView({ q: undefined, kind: undefined })}>
                  {t("common.clear_filters")}
                </Button>
              }
            />
          )
        }
      />
    </Panel>
  );
}
