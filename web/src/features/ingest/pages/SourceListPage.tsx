import { Button } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { SourceSummary } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Filters, matches } from "~/components/Filters";
import { Load } from "~/components/Load";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { SourceStateBadge } from "~/components/StateBadges";
import { SOURCE_STATES, sourceWord } from "~/components/states";
import { TextLink } from "~/components/TextLink";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable, type DataColumn } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { SourceFault } from "../parts/SourceFault";

export default function SourceListPage() {
  const t = useT();
  const sources = useQuery(queries.sources);
  const add = (
    <Button component={AppLink} href={paths.newSource()} leftSection={<IconPlus size={15} />}>
      {t("source.add")}
    </Button>
  );
  return (
    <>
      <PageHeader title={t("nav.sources")} lead={t("source.lead")} actions={add} />
      <Load query={sources}>{(items) => <SourceTable sources={items} />}</Load>
    </>
  );
}

function useColumns(): DataColumn<SourceSummary>[] {
  const t = useT();
  const format = useFormat();
  return [
    {
      key: "name",
      header: t("col.name"),
      grow: true,
      sort: (source) => source.name,
      cell: (source) => (
        <>
          <div>
            <TextLink href={paths.source(source.name)}>{source.name}</TextLink>
          </div>
          <SourceFault source={source} short />
        </>
      ),
    },
    { key: "type", header: t("col.type"), sort: (s) => s.type, cell: (s) => <span className="mono nowrap">{s.type}</span> },
    { key: "state", header: t("col.state"), sort: (s) => s.state, cell: (s) => <SourceStateBadge state={s.state} /> },
    { key: "rate", header: t("col.rows_per_s"), numeric: true, sort: (s) => s.rows_per_s, cell: (s) => <TextLink quiet href={paths.source(s.name)}>{format.count(s.rows_per_s)}</TextLink> },
    { key: "rows", header: t("col.rows"), numeric: true, sort: (s) => s.rows_total, cell: (s) => <TextLink quiet href={paths.source(s.name)}>{format.count(s.rows_total)}</TextLink> },
    {
      key: "lag",
      header: t("col.lag"),
      numeric: true,
      sort: (s) => s.lag_ms,
      cell: (s) => (s.lag_ms === null ? "–" : format.duration(s.lag_ms)),
    },
    {
      key: "tables",
      header: t("col.tables"),
      numeric: true,
      sort: (s) => s.tables,
      cell: (s) => <TextLink quiet href={paths.source(s.name)}>{format.count(s.tables)}</TextLink>,
    },
    {
      key: "dead",
      header: t("col.dead_letters"),
      numeric: true,
      sort: (s) => s.dead_letters,
      cell: (s) =>
        s.dead_letters > 0 ? (
          <TextLink href={paths.source(s.name, "dead-letters")}>{format.count(s.dead_letters)}</TextLink>
        ) : (
          <span className="dim">0</span>
        ),
    },
    { key: "last", header: t("col.last_row"), numeric: true, sort: (s) => s.last_row_at, cell: (s) => <When at={s.last_row_at} /> },
  ];
}

const EXAMPLE = `kind: source
name: nyc
spec:
  type: replay
  path: data`;

function SourceTable({ sources }: { sources: SourceSummary[] }) {
  const t = useT();
  const [view, setView] = useView();
  const columns = useColumns();
  if (sources.length === 0) {
    return (
      <Panel>
        <EmptyState
          title={t("source.none")}
          text={t("source.none_yaml")}
          code={EXAMPLE}
          action={
            <Button component={AppLink} href={paths.newSource()}>
              {t("source.add")}
            </Button>
          }
        />
      </Panel>
    );
  }
  const shown = sources.filter(
    (source) =>
      matches(view.q, source.name, source.type, source.title) &&
      (!view.state || source.state === view.state) &&
      (!view.type || source.type === view.type),
  );
  const types = [...new Set(sources.map((source) => source.type))].sort();
  return (
    <Panel
      flush
      title={t("source.count", { count: shown.length })}
      actions={
        <Filters
          label={t("source.search")}
          choices={[
            { key: "state", label: t("col.state"), options: SOURCE_STATES.map((value) => ({ value, label: t(sourceWord(value)) })) },
            { key: "type", label: t("col.type"), options: types.map((value) => ({ value, label: value })) },
          ]}
        />
      }
    >
      <DataTable
        label={t("nav.sources")}
        columns={columns}
        rows={shown}
        rowKey={(source) => source.name}
        sort={view.sort ?? "name"}
        onSort={(sort) => setView({ sort })}
        empty={
          <EmptyState
            title={t("common.no_match")}
            action={
              <Button variant="default" onClick={() => setView({ q: undefined, state: undefined, type: undefined })}>
                {t("common.clear_filters")}
              </Button>
            }
          />
        }
      />
    </Panel>
  );
}
