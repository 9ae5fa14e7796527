import { Button, Group } from "@mantine/core";
import { IconFileImport, IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { queries } from "~/api/queries";
import type { TableSummary } from "~/api/types";
import { type ViewSummary, viewQueries } from "~/api/views";
import { AppLink } from "~/components/AppLink";
import { Filters, matches } from "~/components/Filters";
import { Load } from "~/components/Load";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { TableStateBadge } from "~/components/StateBadges";
import { TextLink } from "~/components/TextLink";
import { tableWord } from "~/components/states";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { type DataColumn, DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { StateBadge } from "~/ui/StateBadge";

const STATES: TableSummary["state"][] = ["ok", "behind", "failed"];

/** What SQL can read: a table, or a view, of which lists know little. */
type Relation = { name: string; namespace: string; table: TableSummary | undefined };

const relationsOf = (tables: TableSummary[], views: ViewSummary[]): Relation[] => [
  ...tables.map((table) => ({ name: table.name, namespace: table.namespace, table })),
  ...views.map(({ name, namespace }) => ({ name, namespace, table: undefined })),
];

export default function TableListPage() {
  const t = useT();
  const tables = useQuery(queries.tables);
  // Without an answer there are tables only.
  const views = useQuery(viewQueries.list).data ?? [];
  return (
    <>
      <PageHeader
        title={t("nav.tables")}
        lead={t("table.lead")}
        actions={
          <>
            <Button variant="default" component={AppLink} href={paths.importTable()} leftSection={<IconFileImport size={15} />}>
              {t("import.title")}
            </Button>
            <Button component={AppLink} href={paths.newTable} leftSection={<IconPlus size={15} />}>
              {t("form.create")}
            </Button>
          </>
        }
      />
      <Load query={tables}>{(items) => <TableTable tables={items} views={views} />}</Load>
    </>
  );
}

function useColumns(): DataColumn<Relation>[] {
  const t = useT();
  const format = useFormat();
  const of = (cell: (table: TableSummary) => ReactNode) => (one: Relation) => (one.table ? cell(one.table) : null);
  return [
    {
      key: "name",
      header: t("col.name"),
      grow: true,
      sort: (one) => one.name,
      cell: (one) => <TextLink href={one.table ? paths.table(one.name) : paths.view(one.name)}>{one.name}</TextLink>,
    },
    { key: "state", header: t("col.state"), sort: (one) => one.table?.state ?? "view", cell: (one) => (one.table ? <TableStateBadge state={one.table.state} /> : <StateBadge tone="info" label={t("view.view")} />) },
    { key: "rows", header: t("col.rows"), numeric: true, sort: (one) => one.table?.rows ?? null, cell: of((x) => <TextLink quiet href={paths.table(x.name)}>{format.count(x.rows)}</TextLink>) },
    { key: "bytes", header: t("col.size"), numeric: true, sort: (one) => one.table?.bytes ?? null, cell: of((x) => <TextLink quiet href={paths.table(x.name, { tab: "files" })}>{format.bytes(x.bytes)}</TextLink>) },
    { key: "files", header: t("col.files"), numeric: true, sort: (one) => one.table?.files ?? null, cell: of((x) => <TextLink quiet href={paths.table(x.name, { tab: "files" })}>{format.count(x.files)}</TextLink>) },
    { key: "freshness", header: t("col.freshness"), numeric: true, sort: (one) => one.table?.freshness_ms ?? null, cell: of((x) => (x.freshness_ms === null ? "–" : format.duration(x.freshness_ms))) },
    {
      key: "commit",
      header: t("col.last_commit"),
      numeric: true,
      sort: (one) => one.table?.last_commit_at ?? null,
      cell: of((x) => (
        <TextLink quiet href={paths.table(x.name, { tab: "snapshots" })}>
          <When at={x.last_commit_at} />
        </TextLink>
      )),
    },
    { key: "source", header: t("col.source"), sort: (one) => one.table?.source ?? null, cell: of((x) => (x.source ? <TextLink href={paths.source(x.source)}>{x.source}</TextLink> : "–")) },
  ];
}

function TableTable({ tables, views }: { tables: TableSummary[]; views: ViewSummary[] }) {
  const t = useT();
  const [view, setView] = useView();
  const columns = useColumns();
  if (tables.length + views.length === 0) {
    return (
      <Panel>
        <EmptyState
          title={t("table.none")}
          text={t("table.none_hint")}
          action={
            <Group gap={8} justify="center">
              <Button component={AppLink} href={paths.newSource()}>
                {t("source.add")}
              </Button>
              <Button variant="default" component={AppLink} href={paths.importTable()}>
                {t("import.title")}
              </Button>
              <Button variant="default" component={AppLink} href={paths.newTable}>
                {t("form.create")}
              </Button>
            </Group>
          }
        />
      </Panel>
    );
  }
  const all = relationsOf(tables, views);
  const shown = all.filter(
    (one) => matches(view.q, one.name) && (!view.namespace || one.namespace === view.namespace) && (!view.state || (one.table?.state ?? "view") === view.state),
  );
  const namespaces = [...new Set(all.map(({ namespace }) => namespace))].sort();
  const counts = { tables: shown.filter(({ table }) => table).length, views: shown.filter(({ table }) => !table).length };
  return (
    <Panel
      flush
      title={[...(counts.tables > 0 || counts.views === 0 ? [t("table.count", { count: counts.tables })] : []), ...(counts.views > 0 ? [t("view.count", { count: counts.views })] : [])].join(", ")}
      actions={
        <Filters
          label={t("table.search")}
          choices={[
            { key: "namespace", label: t("table.namespace"), options: namespaces.map((value) => ({ value, label: value })) },
            { key: "state", label: t("col.state"), options: [...STATES.map((value) => ({ value, label: t(tableWord(value)) })), ...(views.length > 0 ? [{ value: "view", label: t("view.view") }] : [])] },
          ]}
        />
      }
    >
      <DataTable
        label={t("nav.tables")}
        columns={columns}
        rows={shown}
        rowKey={(one) => one.name}
        sort={view.sort ?? "name"}
        onSort={(sort) => setView({ sort })}
        empty={
          <EmptyState
            title={t("common.no_match")}
            action={
              <Button variant="default" onClick={() => setView({ q: undefined, namespace: undefined, state: undefined })}>
                {t("common.clear_filters")}
              </Button>
            }
          />
        }
      />
    </Panel>
  );
}
