import { Stack } from "@mantine/core";
import type { SourceDetail } from "~/api/types";
import { paths } from "~/components/paths";
import { SourceStateBadge } from "~/components/StateBadges";
import { TextLink } from "~/components/TextLink";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { Prose } from "~/ui/Prose";
import { useFormat } from "~/i18n/format";
import { CodeBlock } from "~/ui/CodeBlock";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { StateBadge } from "~/ui/StateBadge";
import { PushHint } from "./PushHint";

const PHASE_TONE = { snapshot: "info", streaming: "ok", done: "quiet" } as const;

/** Each table of the source, from where to where. */
export function SourceTables({ source }: { source: SourceDetail }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  return (
    <Stack gap="md">
      <Panel flush>
        <DataTable
          label={t("col.tables")}
          rows={source.per_table}
          rowKey={(table) => table.table}
          sort={view.sort ?? "table"}
          onSort={(sort) => setView({ sort })}
          columns={[
            { key: "table", header: t("source.table"), cell: (row) => row.table, sort: (row) => row.table },
            {
              key: "phase",
              header: t("col.state"),
              cell: (row) => <StateBadge tone={PHASE_TONE[row.phase]} label={t(`source.state.${row.phase}`)} />,
              sort: (row) => row.phase,
            },
            {
              key: "topic",
              header: t("subject.topic"),
              cell: (row) => <TextLink href={paths.topic(row.topic)}>{row.topic}</TextLink>,
              sort: (row) => row.topic,
            },
            {
              key: "target",
              header: t("subject.table"),
              cell: (row) => <TextLink href={paths.table(row.lakehouse_table)}>{row.lakehouse_table}</TextLink>,
              sort: (row) => row.lakehouse_table,
            },
            { key: "rate", header: t("col.rows_per_s"), numeric: true, cell: (row) => format.count(row.rows_per_s), sort: (row) => row.rows_per_s },
            { key: "rows", header: t("col.rows"), numeric: true, cell: (row) => format.count(row.rows_total), sort: (row) => row.rows_total },
            {
              key: "lag",
              header: t("col.lag"),
              numeric: true,
              cell: (row) => (row.lag_ms === null ? "–" : format.duration(row.lag_ms)),
              sort: (row) => row.lag_ms,
            },
          ]}
          empty={<EmptyState title={t("source.no_tables")} text={t("source.no_tables_hint")} />}
        />
      </Panel>
      {source.type === "http_push" && <PushHint name={source.name} />}
    </Stack>
  );
}

/** What states the source went through, newest first. */
export function SourceHistory({ source }: { source: SourceDetail }) {
  const t = useT();
  const events = source.history.map((event, index) => ({ ...event, index })).sort((a, b) => b.at.localeCompare(a.at));
  return (
    <Panel flush>
      <DataTable
        label={t("source.history")}
        rows={events}
        rowKey={(event) => String(event.index)}
        columns={[
          { key: "at", header: t("col.at"), cell: (event) => <When at={event.at} /> },
          { key: "state", header: t("col.state"), cell: (event) => <SourceStateBadge state={event.state} /> },
          { key: "message", header: t("col.message"), grow: true, cell: (event) => (event.message ? <span lang="en"><Prose text={event.message} /></span> : <span className="dim">–</span>) },
        ]}
        empty={<EmptyState title={t("source.no_history")} />}
      />
    </Panel>
  );
}

/** The configuration as it runs; secrets are references. */
export function SourceSpec({ source }: { source: SourceDetail }) {
  const t = useT();
  return (
    <Panel
      title={t("source.spec")}
      note={t("source.spec_note")}
      actions={<TextLink href={paths.resource("source", source.name)}>{t("source.as_yaml")}</TextLink>}
    >
      <CodeBlock code={JSON.stringify(source.spec, null, 2)} label={t("source.spec")} tall />
    </Panel>
  );
}
