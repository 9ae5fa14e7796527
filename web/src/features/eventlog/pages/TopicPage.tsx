import { Stack } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { queries } from "~/api/queries";
import type { TopicDetail } from "~/api/types";
import { Load } from "~/components/Load";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { TabBar } from "~/components/TabBar";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";
import { Peek } from "../parts/Peek";

export default function TopicPage() {
  const t = useT();
  const { name } = useParams({ strict: false }) as { name: string };
  const topic = useQuery(queries.topic(name));
  const parent = { label: t("nav.topics"), href: paths.topics() };
  return (
    <>
      <PageHeader title={name} copyable={topic.data !== undefined} parent={parent} />
      <Load query={topic} lines={10} place={{ ...parent, of: paths.topic }}>
        {(data) => <TopicBody topic={data} />}
      </Load>
    </>
  );
}

function TopicBody({ topic }: { topic: TopicDetail }) {
  const t = useT();
  const format = useFormat();
  const { age, size } = topic.retention;
  return (
    <Stack gap="md">
      <Facts
        items={[
          { label: t("col.rows_per_s"), value: <TextLink quiet href={paths.topic(topic.name)}>{format.count(topic.rows_per_s)}</TextLink> },
          { label: t("col.rows"), value: <TextLink quiet href={paths.topic(topic.name)}>{format.count(topic.rows)}</TextLink> },
          { label: t("col.size"), value: <TextLink quiet href={paths.topic(topic.name, "partitions")}>{format.bytes(topic.bytes)}</TextLink> },
          { label: t("col.partitions"), value: <TextLink href={paths.topic(topic.name, "partitions")}>{format.count(topic.partitions)}</TextLink> },
          { label: t("topic.retention"), value: [age && format.span(age), size].filter(Boolean).join(" · ") || t("topic.forever") },
          { label: t("topic.last_append"), value: <When at={topic.last_append_at} /> },
          {
            label: t("col.source"),
            value: topic.source ? <TextLink href={paths.source(topic.source)}>{topic.source}</TextLink> : "–",
          },
        ]}
      />
      <TabBar
        label={topic.name}
        tabs={[
          { id: "rows", label: t("topic.rows"), content: () => <Peek topic={topic} /> },
          { id: "schema", label: t("topic.schema"), count: topic.schema.length, content: () => <Schema topic={topic} /> },
          { id: "partitions", label: t("col.partitions"), count: topic.partitions, content: () => <Partitions topic={topic} /> },
          { id: "consumers", label: t("col.consumers"), count: topic.consumer_list.length, content: () => <Consumers topic={topic} /> },
        ]}
      />
    </Stack>
  );
}

function Schema({ topic }: { topic: TopicDetail }) {
  const t = useT();
  return (
    <Panel flush>
      <DataTable
        label={t("topic.schema")}
        rows={topic.schema}
        rowKey={(field) => field.name}
        columns={[
          { key: "name", header: t("topic.column"), cell: (field) => <span className="mono">{field.name}</span> },
          { key: "type", header: t("col.type"), cell: (field) => <span className="mono nowrap">{field.type}</span> },
          { key: "nullable", header: t("topic.nullable"), cell: (field) => (field.nullable ? t("common.yes") : t("common.no")) },
          { key: "key", header: t("topic.key"), grow: true, cell: (field) => (topic.key.includes(field.name) ? t("common.yes") : "") },
        ]}
        empty={<EmptyState title={t("topic.no_schema")} />}
      />
    </Panel>
  );
}

function Partitions({ topic }: { topic: TopicDetail }) {
  const t = useT();
  const format = useFormat();
  return (
    <Panel flush>
      <DataTable
        label={t("col.partitions")}
        rows={topic.partition_list}
        rowKey={(one) => String(one.partition)}
        columns={[
          { key: "partition", header: t("topic.partition"), cell: (one) => one.partition },
          { key: "low", header: t("topic.low"), numeric: true, cell: (one) => format.count(one.low_offset) },
          { key: "high", header: t("topic.high"), numeric: true, cell: (one) => format.count(one.high_offset) },
          { key: "bytes", header: t("col.size"), numeric: true, cell: (one) => format.bytes(one.bytes) },
          { key: "segments", header: t("topic.segments"), numeric: true, cell: (one) => format.count(one.segments) },
        ]}
      />
    </Panel>
  );
}

/** A consumer is named by what it is, such as `table nyc.flights`; a table has a page. */
function Consumer({ name }: { name: string }) {
  const t = useT();
  const table = /^table[ :/](\S+\.\S+)$/.exec(name)?.[1];
  if (!table) return name;
  return (
    <>
      {t("subject.table")} <TextLink href={paths.table(table)}>{table}</TextLink>
    </>
  );
}

function Consumers({ topic }: { topic: TopicDetail }) {
  const t = useT();
  const format = useFormat();
  return (
    <Panel flush>
      <DataTable
        label={t("col.consumers")}
        rows={topic.consumer_list}
        rowKey={(one) => `${one.consumer}/${one.partition}`}
        columns={[
          { key: "consumer", header: t("topic.consumer"), grow: true, cell: (one) => <Consumer name={one.consumer} /> },
          { key: "partition", header: t("topic.partition"), numeric: true, cell: (one) => one.partition },
          { key: "offset", header: t("topic.offset"), numeric: true, cell: (one) => format.count(one.offset) },
          { key: "lag", header: t("topic.lag_rows"), numeric: true, cell: (one) => format.count(one.lag_rows) },
          { key: "at", header: t("topic.committed"), numeric: true, cell: (one) => <When at={one.committed_at} /> },
        ]}
        empty={<EmptyState title={t("topic.no_consumers")} text={t("topic.no_consumers_hint")} />}
      />
    </Panel>
  );
}
