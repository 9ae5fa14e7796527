import { ActionIcon, Button, Stack } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { tableQueries } from "~/api/lakehouse";
import type { TableDetail, TableField } from "~/api/types";
import { useMay } from "~/components/may";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { type DataColumn, DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Hint } from "~/ui/Hint";
import { Panel } from "~/ui/Panel";
import type { Alteration } from "../forms/alter";
import { AlterDialog } from "../forms/AlterDialog";
import { ColumnMenu } from "../forms/ColumnMenu";
import classes from "./Schema.module.css";
import { SchemaHistory } from "./SchemaHistory";
import { SourceChanges } from "./SourceChanges";
import { type ColumnStatistics, statisticsOf, statisticsSql } from "./statistics";

/** A type that is longer takes several lines. */
const TYPE_CHARS = 22;

/** Columns now with what the files know of them, how files are partitioned, and how the schema changed. */
export function Schema({ table }: { table: TableDetail }) {
  const t = useT();
  const [view, setView] = useView();
  const known = useQuery({
    ...tableQueries.sql(["statistics", table.namespace, table.table, table.snapshot_id], statisticsSql(table, table.schema)),
    enabled: table.snapshot_id !== null,
    select: (result) => statisticsOf(result, table.schema),
  }).data;
  const may = useMay();
  const [change, setChange] = useState<Alteration | null>(null);
  const columns = useColumns(table, known, setChange);
  const add = (label: string, onClick: () => void) => (
    <Button variant="default" leftSection={<IconPlus size={15} />} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} onClick={onClick}>
      {label}
    </Button>
  );
  return (
    <Stack gap="md">
      <Panel flush title={t("topic.schema")} note={known && t("schema.from_files")} actions={<>{known && <Hint text={t("schema.from_files_hint")} />}{add(t("form.add_column"), () => setChange({ kind: "add" }))}</>}>
        <DataTable label={t("topic.schema")} rows={table.schema} rowKey={(field) => String(field.id)} columns={columns} sort={view.sort} onSort={(sort) => setView({ sort })} />
      </Panel>
      <Panel flush title={t("table.partitioning")} actions={add(t("form.add_partition"), () => setChange({ kind: "partition" }))}>
        <DataTable
          label={t("table.partitioning")}
          rows={table.partition_spec}
          rowKey={(one) => one.name}
          columns={[
            { key: "source", header: t("topic.column"), cell: (one) => <span className="mono">{one.source}</span> },
            { key: "transform", header: t("table.transform"), cell: (one) => <span className="mono">{one.transform}</span> },
            { key: "name", header: t("col.name"), grow: true, cell: (one) => <span className="mono">{one.name}</span> },
            {
              key: "drop",
              header: "",
              cell: (one) => (
                <ActionIcon variant="subtle" color="gray" size="sm" disabled={!may.edit} aria-label={t("form.alter.unpartition", { name: one.name })} title={t("form.alter.unpartition", { name: one.name })} onClick={() => setChange({ kind: "unpartition", field: one.name })}>
                  <IconTrash size={15} />
                </ActionIcon>
              ),
            },
          ]}
          empty={<EmptyState title={t("table.not_partitioned")} text={t("table.not_partitioned_hint")} />}
        />
      </Panel>
      <SourceChanges properties={table.properties} />
      {table.schema_history.length > 1 && <SchemaHistory table={table} />}
      {change && <AlterDialog table={table} change={change} onClose={() => setChange(null)} />}
    </Stack>
  );
}

function useColumns(table: TableDetail, known: Map<number, ColumnStatistics> | undefined, onChange: (change: Alteration) => void): DataColumn<TableField>[] {
  const t = useT();
  const format = useFormat();
  const largest = Math.max(1, ...[...(known?.values() ?? [])].map(({ bytes }) => bytes));
  const partitions = new Set(table.partition_spec.map((one) => one.source));
  const one = (field: TableField) => known?.get(field.id);
  const statistics: DataColumn<TableField>[] = known
    ? [
        { key: "nulls", header: t("schema.nulls"), numeric: true, sort: (field) => one(field)?.nulls ?? null, cell: (field) => <Nulls of={one(field)} /> },
        { key: "least", header: t("schema.least"), cell: (field) => <Bound text={one(field)?.least} /> },
        { key: "most", header: t("schema.most"), cell: (field) => <Bound text={one(field)?.most} /> },
        {
          key: "bytes",
          header: t("col.size"),
          numeric: true,
          sort: (field) => one(field)?.bytes ?? null,
          cell: (field) => (
            <span className={classes.size}>
              <span className={classes.share} aria-hidden>
                <span style={{ width: `${(100 * (one(field)?.bytes ?? 0)) / largest}%` }} />
              </span>
              {format.bytes(one(field)?.bytes ?? 0)}
            </span>
          ),
        },
      ]
    : [];
  return [
    {
      key: "name",
      header: t("topic.column"),
      sort: (field) => field.name,
      cell: (field) => (
        <span className={classes.name}>
          <span className="mono" title={t("schema.field_id", { id: String(field.id) })}>{field.name}</span>
          {field.key && <span className={classes.mark}>{t("topic.key")}</span>}
          {partitions.has(field.name) && <span className={classes.mark}>{t("schema.partitions")}</span>}
          {field.doc && <span className={classes.doc} lang="en">{field.doc}</span>}
        </span>
      ),
    },
    { key: "type", header: t("col.type"), sort: (field) => field.type, cell: (field) => <span className={`mono ${field.type.length > TYPE_CHARS ? classes.type : "nowrap"}`}>{field.type}</span> },
    { key: "required", header: t("table.required"), cell: (field) => (field.required ? t("common.yes") : t("common.no")) },
    ...statistics,
    { key: "change", header: "", pinned: true, cell: (field) => <ColumnMenu table={table} field={field} onChoose={onChange} /> },
  ];
}

function Nulls({ of }: { of: ColumnStatistics | undefined }) {
  const format = useFormat();
  if (!of || of.nulls === undefined) return <span className="dim">–</span>;
  if (of.nulls === 0) return <span className="dim">0</span>;
  return (
    <span title={format.count(of.nulls)}>
      {format.count(of.nulls)} <span className="dim">{format.percent(of.nulls / Math.max(1, of.rows))}</span>
    </span>
  );
}

function Bound({ text }: { text: string | null | undefined }) {
  if (text === null || text === undefined) return <span className="dim">–</span>;
  return (
    <span className={`mono ${classes.bound}`} title={text} lang="en">
      {text}
    </span>
  );
}
