import { Button } from "@mantine/core";
import type { SourceSummary, TableSummary } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { paths } from "~/components/paths";
import { SourceStateBadge, TableStateBadge } from "~/components/StateBadges";
import { TextLink } from "~/components/TextLink";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";

const SHOWN_MAX = 12;

export function SourcesNow({ sources }: { sources: SourceSummary[] }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  return (
    <Panel
      flush
      title={t("nav.sources")}
      note={format.count(sources.length)}
      actions={<TextLink href={paths.sources()}>{t("common.show_all")}</TextLink>}
    >
      <DataTable
        label={t("nav.sources")}
        rows={sources.slice(0, SHOWN_MAX)}
        rowKey={(source) => source.name}
        sort={view.sources}
        onSort={(sort) => setView({ sources: sort })}
        columns={[
          {
            key: "name",
            header: t("col.name"),
            cell: (source) => <TextLink href={paths.source(source.name)}>{source.name}</TextLink>,
            sort: (source) => source.name,
            grow: true,
          },
          {
            key: "state",
            header: t("col.state"),
            cell: (source) => <SourceStateBadge state={source.state} />,
            sort: (source) => source.state,
          },
          {
            key: "rate",
            header: t("col.rows_per_s"),
            cell: (source) => <TextLink quiet href={paths.source(source.name)}>{format.count(source.rows_per_s)}</TextLink>,
            sort: (source) => source.rows_per_s,
            numeric: true,
          },
          {
            key: "lag",
            header: t("col.lag"),
            cell: (source) => (source.lag_ms === null ? "–" : format.duration(source.lag_ms)),
            sort: (source) => source.lag_ms,
            numeric: true,
          },
        ]}
        empty={
          <EmptyState
            title={t("source.none")}
            text={t("source.none_hint")}
            action={
              <Button component={AppLink} href={paths.newSource()}>
                {t("source.add")}
              </Button>
            }
          />
        }
      />
    </Panel>
  );
}

export function TablesNow({ tables }: { tables: TableSummary[] }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  return (
    <Panel
      flush
      title={t("nav.tables")}
      note={format.count(tables.length)}
      actions={<TextLink href={paths.tables()}>{t("common.show_all")}</TextLink>}
    >
      <DataTable
        label={t("nav.tables")}
        rows={tables.slice(0, SHOWN_MAX)}
        rowKey={(table) => table.name}
        sort={view.tables}
        onSort={(sort) => setView({ tables: sort })}
        columns={[
          {
            key: "name",
            header: t("col.name"),
            cell: (table) => <TextLink href={paths.table(table.name)}>{table.name}</TextLink>,
            sort: (table) => table.name,
            grow: true,
          },
          {
            key: "state",
            header: t("col.state"),
            cell: (table) => <TableStateBadge state={table.state} />,
            sort: (table) => table.state,
          },
          {
            key: "rows",
            header: t("col.rows"),
            cell: (table) => <TextLink quiet href={paths.table(table.name)}>{format.count(table.rows)}</TextLink>,
            sort: (table) => table.rows,
            numeric: true,
          },
          {
            key: "freshness",
            header: t("col.freshness"),
            cell: (table) => (table.freshness_ms === null ? "–" : format.duration(table.freshness_ms)),
            sort: (table) => table.freshness_ms,
            numeric: true,
          },
        ]}
        empty={<EmptyState title={t("table.none")} text={t("table.none_hint")} />}
      />
    </Panel>
  );
}
