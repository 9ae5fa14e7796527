import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { TopicSummary } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Filters, matches } from "~/components/Filters";
import { Load } from "~/components/Load";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { type DataColumn, DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";

export default function TopicListPage() {
  const t = useT();
  const topics = useQuery(queries.topics);
  return (
    <>
      <PageHeader title={t("nav.topics")} lead={t("topic.lead")} />
      <Load query={topics}>{(items) => <TopicTable topics={items} />}</Load>
    </>
  );
}

function useColumns(): DataColumn<TopicSummary>[] {
  const t = useT();
  const format = useFormat();
  return [
    {
      key: "name",
      header: t("col.name"),
      grow: true,
      sort: (topic) => topic.name,
      cell: (topic) => <TextLink href={paths.topic(topic.name)}>{topic.name}</TextLink>,
    },
    {
      key: "source",
      header: t("col.source"),
      sort: (topic) => topic.source,
      cell: (topic) => (topic.source ? <TextLink href={paths.source(topic.source)}>{topic.source}</TextLink> : "–"),
    },
    { key: "rate", header: t("col.rows_per_s"), numeric: true, sort: (x) => x.rows_per_s, cell: (x) => <TextLink quiet href={paths.topic(x.name)}>{format.count(x.rows_per_s)}</TextLink> },
    { key: "rows", header: t("col.rows"), numeric: true, sort: (x) => x.rows, cell: (x) => <TextLink quiet href={paths.topic(x.name)}>{format.count(x.rows)}</TextLink> },
    { key: "bytes", header: t("col.size"), numeric: true, sort: (x) => x.bytes, cell: (x) => <TextLink quiet href={paths.topic(x.name, "partitions")}>{format.bytes(x.bytes)}</TextLink> },
    {
      key: "partitions",
      header: t("col.partitions"),
      numeric: true,
      sort: (x) => x.partitions,
      cell: (x) => <TextLink quiet href={paths.topic(x.name, "partitions")}>{format.count(x.partitions)}</TextLink>,
    },
    {
      key: "consumers",
      header: t("col.consumers"),
      numeric: true,
      sort: (x) => x.consumers,
      cell: (x) => <TextLink quiet href={paths.topic(x.name, "consumers")}>{format.count(x.consumers)}</TextLink>,
    },
    { key: "last", header: t("topic.last_append"), numeric: true, sort: (x) => x.last_append_at, cell: (x) => <When at={x.last_append_at} /> },
  ];
}

function TopicTable({ topics }: { topics: TopicSummary[] }) {
  const t = useT();
  const [view, setView] = useView();
  const columns = useColumns();
  if (topics.length === 0) {
    return (
      <Panel>
        <EmptyState
          title={t("topic.none")}
          text={t("topic.none_hint")}
          action={
            <Button component={AppLink} href={paths.newSource()}>
              {t("source.add")}
            </Button>
          }
        />
      </Panel>
    );
  }
  const shown = topics.filter((topic) => matches(view.q, topic.name) && (!view.source || topic.source === view.source));
  const sources = [...new Set(topics.flatMap((topic) => topic.source ?? []))].sort();
  return (
    <Panel
      flush
      title={t("topic.count", { count: shown.length })}
      actions={
        <Filters
          label={t("topic.search")}
          choices={[{ key: "source", label: t("col.source"), options: sources.map((value) => ({ value, label: value })) }]}
        />
      }
    >
      <DataTable
        label={t("nav.topics")}
        columns={columns}
        rows={shown}
        rowKey={(topic) => topic.name}
        sort={view.sort ?? "name"}
        onSort={(sort) => setView({ sort })}
        empty={
          <EmptyState
            title={t("common.no_match")}
            action={
              <Button variant="default" onClick={() => setView({ q: undefined, source: undefined })}>
                {t("common.clear_filters")}
              </Button>
            }
          />
        }
      />
    </Panel>
  );
}
