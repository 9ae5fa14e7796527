import { Stack } from "@mantine/core";
import type { TableDetail, TableField } from "~/api/types";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { type DataColumn, DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { schemaChanges } from "./schema-changes";

function useColumns(): DataColumn<TableField>[] {
  const t = useT();
  return [
    { key: "name", header: t("topic.column"), cell: (field) => <span className="mono">{field.name}</span> },
    { key: "type", header: t("col.type"), cell: (field) => <span className="mono nowrap">{field.type}</span> },
    { key: "id", header: t("table.field_id"), numeric: true, cell: (field) => field.id },
    { key: "required", header: t("table.required"), cell: (field) => (field.required ? t("common.yes") : t("common.no")) },
    { key: "key", header: t("topic.key"), cell: (field) => (field.key ? t("common.yes") : "") },
    { key: "doc", header: t("table.doc"), grow: true, cell: (field) => (field.doc ? <span lang="en">{field.doc}</span> : null) },
  ];
}

/** Columns now, how files are partitioned, and how the schema changed. */
export function Schema({ table }: { table: TableDetail }) {
  const t = useT();
  const columns = useColumns();
  const ordered = table.schema_history.slice().sort((a, b) => b.schema_id - a.schema_id);
  // The first schema has nothing before it; each later one is told by what it changed.
  const steps = ordered.slice(0, -1).map((schema, index) => ({ ...schema, lines: schemaChanges(ordered[index + 1]?.fields ?? [], schema.fields) }));
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
      {steps.length > 0 && (
        <Panel flush title={t("table.schema_history")}>
          <DataTable
            label={t("table.schema_history")}
            rows={steps}
            rowKey={(step) => String(step.schema_id)}
            columns={[
              { key: "schema", header: t("table.schema_id"), cell: (step) => step.schema_id },
              { key: "at", header: t("col.at"), cell: (step) => <When at={step.at} /> },
              { key: "changes", header: t("resource.plan"), grow: true, cell: (step) => <Changes lines={step.lines} /> },
            ]}
          />
        </Panel>
      )}
    </Stack>
  );
}

function Changes({ lines }: { lines: string[] }) {
  const t = useT();
  if (lines.length === 0) return <span className="dim">{t("change.none")}</span>;
  return (
    <span className="mono" style={{ display: "grid", gap: 2 }}>
      {lines.map((line) => (
        <span key={line} style={{ color: line.startsWith("+") ? "var(--ok)" : line.startsWith("−") ? "var(--bad)" : undefined }}>
          {line}
        </span>
      ))}
    </span>
  );
}
