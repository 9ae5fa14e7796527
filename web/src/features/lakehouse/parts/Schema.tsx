import { Stack } from "@mantine/core";
import type { TableDetail, TableField } from "~/api/types";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { type DataColumn, DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";

function useColumns(): DataColumn<TableField>[] {
  const t = useT();
  return [
    { key: "name", header: t("topic.column"), cell: (field) => <span className="mono">{field.name}</span> },
    { key: "type", header: t("col.type"), cell: (field) => <span className="mono">{field.type}</span> },
    { key: "id", header: t("table.field_id"), numeric: true, cell: (field) => field.id },
    { key: "required", header: t("table.required"), cell: (field) => (field.required ? t("common.yes") : t("common.no")) },
    { key: "key", header: t("topic.key"), cell: (field) => (field.key ? t("common.yes") : "") },
    { key: "doc", header: t("table.doc"), grow: true, cell: (field) => <span lang="en">{field.doc}</span> },
  ];
}

/** Columns now, how files are partitioned, and earlier schemas. */
export function Schema({ table }: { table: TableDetail }) {
  const t = useT();
  const columns = useColumns();
  const earlier = table.schema_history.slice().sort((a, b) => b.schema_id - a.schema_id).slice(1);
  return (
    <Stack gap="md">
      <Panel flush title={t("topic.schema")}>
        <DataTable label={t("topic.schema")} rows={table.schema} rowKey={(field) => String(field.id)} columns={columns} />
      </Panel>
      <Panel flush title={t("table.partitioning")}>
        <DataTable
          label={t("table.partitioning")}
          rows={table.partition_spec}
          rowKey={(one) => one.name}
          columns={[
            { key: "name", header: t("col.name"), cell: (one) => <span className="mono">{one.name}</span> },
            { key: "source", header: t("topic.column"), cell: (one) => <span className="mono">{one.source}</span> },
            { key: "transform", header: t("table.transform"), grow: true, cell: (one) => <span className="mono">{one.transform}</span> },
          ]}
          empty={<EmptyState title={t("table.not_partitioned")} text={t("table.not_partitioned_hint")} />}
        />
      </Panel>
      {earlier.map((schema) => (
        <Panel key={schema.schema_id} flush title={t("table.schema_number", { id: schema.schema_id })} note={<When at={schema.at} empty="" />}>
          <DataTable
            label={t("table.schema_number", { id: schema.schema_id })}
            rows={schema.fields}
            rowKey={(field) => String(field.id)}
            columns={columns}
          />
        </Panel>
      ))}
    </Stack>
  );
}
