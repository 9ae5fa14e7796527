import { Button, Stack } from "@mantine/core";
import { IconTerminal2 } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Navigate, useParams } from "@tanstack/react-router";
import { queries } from "~/api/queries";
import { tableRef } from "~/api/sql";
import { viewQueries } from "~/api/views";
import type { TableDetail } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Note } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { isMissing } from "~/components/Missing";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { TableStateBadge } from "~/components/StateBadges";
import { TabBar } from "~/components/TabBar";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { Facts } from "~/ui/Facts";
import { Prose } from "~/ui/Prose";
import { CompactButton } from "../parts/CompactButton";
import { Files } from "../files/Files";
import { FlushButton } from "../parts/FlushButton";
import { Rows } from "../rows/Rows";
import { Properties } from "../parts/Properties";
import { Schema } from "../schema/Schema";
import { standsStill } from "../schema/notes";
import { StandsStill } from "../schema/StandsStill";
import { Services } from "../services/Services";
import { Snapshots } from "../snapshots/Snapshots";
import classes from "./TablePage.module.css";

export default function TablePage() {
  const t = useT();
  const { namespace, table } = useParams({ strict: false }) as { namespace: string; table: string };
  const detail = useQuery(queries.table(namespace, table));
  const name = `${namespace}.${table}`;
  const parent = { label: t("nav.tables"), href: paths.tables() };
  const views = useQuery({ ...viewQueries.list, enabled: detail.error !== null }).data ?? [];
  // What is no table may be a view, whose page is another one.
  if (detail.error && views.some((view) => view.name === name)) return <Navigate to={paths.view(name)} replace />;
  return (
    <>
      <PageHeader
        title={name}
        copyable={detail.data !== undefined}
        parent={parent}
        badge={detail.data && <TableStateBadge state={detail.data.state} />}
        lead={detail.data?.properties.comment && <span lang="en">{detail.data.properties.comment}</span>}
        actions={
          !isMissing(detail.error) && (
            <>
              {detail.data?.topic && <FlushButton namespace={namespace} table={table} detail={detail.data} />}
              <CompactButton namespace={namespace} table={table} />
              <Button
                component={AppLink}
                href={paths.sql({ q: `SELECT *\nFROM ${tableRef({ namespace, table })}\nLIMIT 100`, run: "1" })}
                leftSection={<IconTerminal2 size={15} />}
              >
                {t("sql.query_table")}
              </Button>
            </>
          )
        }
      />
      <Load query={detail} lines={10} place={{ ...parent, of: paths.table }}>
        {(data) => <TableBody table={data} />}
      </Load>
    </>
  );
}

function TableBody({ table }: { table: TableDetail }) {
  const t = useT();
  const format = useFormat();
  return (
    <Stack gap="md">
      {standsStill(table) ? <StandsStill table={table} /> : <Trouble table={table} />}
      <Facts items={useFacts(table)} />
      <TabBar
        label={table.name}
        tabs={[
          { id: "preview", label: t("table.preview"), content: () => <Rows table={table} /> },
          { id: "snapshots", label: t("table.snapshots"), count: format.count(table.snapshots), content: () => <Snapshots table={table} /> },
          { id: "schema", label: t("topic.schema"), count: table.schema.length, content: () => <Schema table={table} /> },
          { id: "files", label: t("col.files"), count: format.count(table.files), content: () => <Files table={table} /> },
          { id: "services", label: t("service.tab"), content: () => <Services table={table} /> },
          { id: "properties", label: t("table.properties"), content: () => <Properties table={table} /> },
        ]}
      />
    </Stack>
  );
}

/** What is not as it should be. A table that is up to date may have something to say, too. */
function Trouble({ table }: { table: TableDetail }) {
  const t = useT();
  if (table.state === "ok" && !table.message) return null;
  const hint = table.state === "ok" ? undefined : t("table.behind_hint");
  return (
    <Note
      tone={table.state === "failed" ? "bad" : "warn"}
      message={table.message ? <span lang="en"><Prose text={table.message} /></span> : t("table.behind")}
      hint={table.hint ? <span lang="en"><Prose text={table.hint} /></span> : hint}
      action={
        table.source && (
          <Button variant="default" component={AppLink} href={paths.source(table.source)}>
            {t("table.open_source")}
          </Button>
        )
      }
    />
  );
}

function InMemory({ rows, bytes }: { rows: number; bytes: number | null }) {
  const format = useFormat();
  return (
    <>
      {format.count(rows)}
      {rows > 0 && bytes !== null && <span className={classes.beside}>{format.bytes(bytes)}</span>}
    </>
  );
}

function useFacts(table: TableDetail) {
  const t = useT();
  const format = useFormat();
  const about = [
    { label: t("col.rows"), value: <TextLink quiet href={paths.table(table.name)}>{format.count(table.rows)}</TextLink> },
    { label: t("col.size"), value: <TextLink quiet href={paths.table(table.name, { tab: "files" })}>{format.bytes(table.bytes)}</TextLink> },
  ];
  const commit = { label: t("col.last_commit"), value: <TextLink quiet href={paths.table(table.name, { tab: "snapshots" })}><When at={table.last_commit_at} /></TextLink> };
  if (table.topic === null) {
    // Nothing flows into it, so there is no freshness and nothing waits.
    return [
      ...about,
      { label: t("col.files"), value: <TextLink quiet href={paths.table(table.name, { tab: "files" })}>{format.count(table.files)}</TextLink> },
      commit,
      { label: t("topic.key"), value: table.key.length > 0 ? <span lang="en">{table.key.join(", ")}</span> : t("common.none") },
    ];
  }
  const waiting =
    table.applied_offset === null || table.applied_high_offset === null ? null : table.applied_high_offset - table.applied_offset;
  const inMemory =
    table.hot_rows === null
      ? []
      : [{ label: t("table.in_memory"), hint: t("table.in_memory_hint"), value: <InMemory rows={table.hot_rows} bytes={table.hot_bytes} /> }];
  return [
    ...about,
    ...inMemory,
    { label: t("col.freshness"), hint: t("table.freshness_hint"), value: table.freshness_ms === null ? "–" : format.duration(table.freshness_ms) },
    commit,
    { label: t("table.waiting"), value: waiting === null ? "–" : <TextLink href={paths.topic(table.topic)}>{format.count(waiting)}</TextLink> },
    { label: t("col.source"), value: table.source ? <TextLink href={paths.source(table.source)}>{table.source}</TextLink> : "–" },
  ];
}
