import { Button, NativeSelect } from "@mantine/core";
import { IconPlayerPause, IconPlayerPlay, IconRefresh } from "@tabler/icons-react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { tableQueries } from "~/api/lakehouse";
import { queries } from "~/api/queries";
import { asOf, ident, tableRef } from "~/api/sql";
import type { QueryResult, TableDetail } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Load } from "~/components/Load";
import { paths } from "~/components/paths";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { EmptyState } from "~/ui/EmptyState";
import { ResultGrid } from "~/ui/grid/ResultGrid";
import { Panel } from "~/ui/Panel";
import { differenceOf, rateOf, type Sample, withSample } from "./difference";
import classes from "./Rows.module.css";

const LIVE_MS = 1500;
const RATE_MS = 8000;
const HEIGHT = 560;

/** Types by which rows can sensibly be ordered to see the newest or largest. */
const isOrder = (type: string) => /^(int|long|float|double|decimal|date|timestamp)/.test(type);

/** A hundred rows: as they change, or as of a snapshot. */
export function Rows({ table }: { table: TableDetail }) {
  const [view] = useView();
  return view.snapshot ? <PastRows table={table} snapshot={view.snapshot} /> : <LiveRows table={table} />;
}

function PastRows({ table, snapshot }: { table: TableDetail; snapshot: string }) {
  const t = useT();
  const [, setView] = useView();
  const rows = useQuery(queries.tablePreview(table.namespace, table.table, snapshot));
  return (
    <Panel
      flush
      title={t("table.preview")}
      note={t("table.as_of", { snapshot })}
      actions={
        <>
          <Button variant="default" component={AppLink} href={paths.sql({ q: `SELECT *\nFROM ${asOf(table, snapshot)}\nLIMIT 100`, run: "1" })}>
            {t("rows.query_version")}
          </Button>
          <Button variant="default" onClick={() => setView({ snapshot: undefined })}>
            {t("table.as_now")}
          </Button>
        </>
      }
    >
      <Load query={rows}>{(data) => <Grid data={data} label={t("table.preview")} />}</Load>
    </Panel>
  );
}

/** Where SQL stands with the table; rows are read again when it is another one. */
const positionOf = (table: TableDetail) => `${table.snapshot_id ?? ""}/${table.applied_offset ?? ""}/${table.schema.length}`;

/** Changes per second, from how far SQL has come with the topic. */
function useChangeRate(offset: number | null, at_ms: number): number | undefined {
  const [samples, setSamples] = useState<Sample[]>([]);
  // While rendering, as React advises for what follows from what was just read.
  if (offset !== null && samples.at(-1)?.at_ms !== at_ms) setSamples(withSample(samples, { at_ms, offset }, RATE_MS));
  return rateOf(samples);
}

function LiveRows({ table }: { table: TableDetail }) {
  const t = useT();
  const [view, setView] = useView();
  const live = view.live !== "0";
  const detail = useQuery({ ...queries.table(table.namespace, table.table), refetchInterval: live ? LIVE_MS : 3000 });
  const position = positionOf(detail.data ?? table);
  const [at, setAt] = useState(position);
  if (live && at !== position) setAt(position);
  const order = table.schema.find((field) => field.name === view.order && isOrder(field.type))?.name;
  const rows = useQuery({ ...tableQueries.rows(table, order, at), placeholderData: keepPreviousData });
  const [seen, setSeen] = useState<{ now?: QueryResult | undefined; before?: QueryResult | undefined }>({});
  if (rows.data && !rows.isPlaceholderData && rows.data !== seen.now) setSeen({ now: rows.data, before: seen.now });
  const difference = useMemo(() => (seen.now ? differenceOf(seen.before, seen.now, table.key) : undefined), [seen, table.key]);
  return (
    <Panel
      flush
      title={t("table.preview")}
      note={<LiveNote table={detail.data ?? table} live={live} waiting={!live && at !== position} rate={useChangeRate((detail.data ?? table).applied_offset, detail.dataUpdatedAt)} />}
      actions={
        <>
          <NativeSelect
            size="xs"
            aria-label={t("rows.order")}
            value={order ?? ""}
            onChange={(event) => setView({ order: event.currentTarget.value })}
            data={[{ value: "", label: t("rows.order_none") }, ...table.schema.filter((field) => isOrder(field.type)).map((field) => ({ value: field.name, label: t("rows.order_by", { column: field.name }) }))]}
          />
          {!live && (
            <Button variant="default" leftSection={<IconRefresh size={15} />} loading={rows.isFetching} onClick={() => (at === position ? void rows.refetch() : setAt(position))}>
              {t("table.refresh")}
            </Button>
          )}
          <Button variant="default" leftSection={live ? <IconPlayerPause size={15} /> : <IconPlayerPlay size={15} />} onClick={() => setView({ live: live ? "0" : undefined })}>
            {t(live ? "rows.pause" : "rows.resume")}
          </Button>
        </>
      }
    >
      <Load query={rows}>
        {(data) =>
          data.rows.length === 0 ? (
            <EmptyState title={t("sql.no_rows")} text={t("table.empty_hint")} code={table.topic ? undefined : `INSERT INTO ${tableRef(table)} (${table.schema.map((field) => ident(field.name)).join(", ")}) VALUES (…);`} />
          ) : (
            <Grid data={data} label={t("table.preview")} difference={difference} />
          )
        }
      </Load>
    </Panel>
  );
}

function Grid({ data, label, difference }: { data: QueryResult; label: string; difference?: ReturnType<typeof differenceOf> | undefined }) {
  return (
    <ResultGrid
      label={label}
      columns={data.columns}
      rows={data.rows}
      height={HEIGHT}
      tone={(row) => (difference?.fresh.has(row) || difference?.changed.has(row) ? "plus" : undefined)}
      marked={(row, column) => {
        const before = difference?.changed.get(row);
        return before !== undefined && JSON.stringify(before[column]) !== JSON.stringify(row[column]);
      }}
    />
  );
}

/** How near to now the rows are, and how fast they change. */
function LiveNote({ table, live, waiting, rate }: { table: TableDetail; live: boolean; waiting: boolean; rate: number | undefined }) {
  const t = useT();
  const format = useFormat();
  const parts = [
    t(live ? "rows.live" : waiting ? "rows.paused_behind" : "rows.paused"),
    ...(rate === undefined ? [] : [t("rows.rate", { count: format.count(Math.round(rate)) })]),
    ...(table.freshness_ms === null ? [] : [t("rows.freshness", { time: format.duration(table.freshness_ms) })]),
  ];
  return (
    <span className={classes.note} data-live={live || undefined} role="status">
      <span className={classes.dot} aria-hidden />
      {parts.join(" · ")}
    </span>
  );
}
