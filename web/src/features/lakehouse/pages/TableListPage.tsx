import { Button, Group } from "@mantine/core";
import { IconFileImport, IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { TableSummary } from "~/api/types";
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

const STATES: TableSummary["state"][] = ["ok", "behind", "failed"];

export default function TableListPage() {
  const t = useT();
  const tables = useQuery(queries.tables);
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
      <Load query={tables}>{(items) => <TableTable tables={items} />}</Load>
    </>
  );
}

function useColumns(): DataColumn<TableSummary>[] {
  const t = useT();
  const format = useFormat();
  return [
    {
      key: "name",
      header: t("col.name"),
      grow: true,
      sort: (table) => table.name,
      cell: (table) => <TextLink href={paths.table(table.name)}>{table.name}</TextLink>,
    },
    { key: "state", header: t("col.state"), sort: (x) => x.state, cell: (x) => <TableStateBadge state={x.state} /> },
    { key: "rows", header: t("col.rows"), numeric: true, sort: (x) => x.rows, cell: (x) => <TextLink quiet href={paths.table(x.name)}>{format.count(x.rows)}</TextLink> },
    { key: "bytes", header: t("col.size"), numeric: true, sort: (x) => x.bytes, cell: (x) => <TextLink quiet href={paths.table(x.name, { tab: "files" })}>{format.bytes(x.bytes)}</TextLink> },
    {
      key: "files",
      header: t("col.files"),
      numeric: true,
      sort: (x) => x.files,
      cell: (x) => <TextLink quiet href={paths.table(x.name, { tab: "files" })}>{format.count(x.files)}</TextLink>,
    },
    {
      key: "freshness",
      header: t("col.freshness"),
      numeric: true,
      sort: (x) => x.freshness_ms,
      cell: (x) => (x.freshness_ms === null ? "–" : format.duration(x.freshness_ms)),
    },
    {
      key: "commit",
      header: t("col.last_commit"),
      numeric: true,
      sort: (x) => x.last_commit_at,
      cell: (x) => (
        <TextLink quiet href={paths.table(x.name, { tab: "snapshots" })}>
          <When at={x.last_commit_at} />
        </TextLink>
      ),
    },
    {
      key: "source",
      header: t("col.source"),
      sort: (x) => x.source,
      cell: (x) => (x.source ? <TextLink href={paths.source(x.source)}>{x.source}</TextLink> : "–"),
    },
  ];
}

function TableTable({ tables }: { tables: TableSummary[] }) {
  const t = useT();
  const [view, setView] = useView();
  const columns = useColumns();
  if (tables.length === 0) {
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
  const shown = tables.filter(
    (table) =>
      matches(view.q, table.name) &&
      (!view.namespace || table.namespace === view.namespace) &&
      (!view.state || table.state === view.state),
  );
  const namespaces = [...new Set(tables.map((table) => table.namespace))].sort();
  return (
    <Panel
      flush
      title={t("table.count", { count: shown.length })}
      actions={
        <Filters
          label={t("table.search")}
          choices={[
            { key: "namespace", label: t("table.namespace"), options: namespaces.map((value) => ({ value, label: value })) },
            { key: "state", label: t("col.state"), options: STATES.map((value) => ({ value, label: t(tableWord(value)) })) },
          ]}
        />
      }
    >
      <DataTable
        label={t("nav.tables")}
        columns={columns}
        rows={shown}
        rowKey={(table) => table.name}
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
