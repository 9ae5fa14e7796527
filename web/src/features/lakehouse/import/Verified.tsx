import { Stack } from "@mantine/core";
import { IconCircleCheck, IconCircleX, IconHelpCircle } from "@tabler/icons-react";
import type { Import } from "~/api/imports";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";
import classes from "./Import.module.css";

/** Whether the table holds what the files hold, told by counts and hashes of both. */
export function Verified({ report }: { report: NonNullable<Import["report"]> }) {
  const t = useT();
  const format = useFormat();
  const verdict = report.verified === null ? "unknown" : report.verified ? "equal" : "different";
  const Icon = { equal: IconCircleCheck, different: IconCircleX, unknown: IconHelpCircle }[verdict];
  return (
    <Panel title={t("import.verified")} note={t("import.verified_note")}>
      <Stack gap="md">
        <div className={classes.verdict} data-verdict={verdict} role="status">
          <Icon size={20} aria-hidden />
          <strong>{t(`import.verdict.${verdict}`)}</strong>
          <span className="dim" lang="en">{report.detail}</span>
        </div>
        <Facts
          items={[
            { label: t("import.rows_read"), value: format.count(report.rows_read) },
            { label: t("import.rows_added"), value: format.count(report.rows_added) },
            { label: t("import.problems"), value: format.count(report.problems) },
            { label: t("snapshot.id"), value: <span className="mono">{report.snapshot_id ?? "–"}</span> },
          ]}
        />
        {report.columns && report.columns.length > 0 && (
          <DataTable
            label={t("import.hashes")}
            rows={report.columns}
            rowKey={(column) => column.name}
            rowsShown={50}
            columns={[
              { key: "name", header: t("topic.column"), cell: (column) => <span className="mono" lang="en">{column.name}</span> },
              { key: "equal", header: t("import.equal"), cell: (column) => t(column.equal ? "common.yes" : "common.no") },
              { key: "read", header: t("import.hash_read"), cell: (column) => <span className="mono dim" lang="en">{column.hash_read}</span> },
              { key: "table", header: t("import.hash_table"), grow: true, cell: (column) => <span className="mono dim" lang="en">{column.hash_table}</span> },
            ]}
          />
        )}
      </Stack>
    </Panel>
  );
}
