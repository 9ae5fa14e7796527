import { useQuery } from "@tanstack/react-query";
import { importQueries } from "~/api/imports";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { Panel } from "~/ui/Panel";
import { StateBadge } from "~/ui/StateBadge";
import { shownPath } from "./draft";
import { IMPORT_TONES } from "./tones";

/** Imports that were; one that stopped goes on from its page. */
export function ImportList() {
  const t = useT();
  const format = useFormat();
  const items = useQuery(importQueries.list).data ?? [];
  if (items.length === 0) return null;
  return (
    <div style={{ marginTop: 16 }}>
      <Panel flush title={t("import.past")}>
        <DataTable
          label={t("import.past")}
          rows={items}
          rowKey={(one) => one.id}
          rowsShown={20}
          columns={[
            { key: "into", header: t("import.target"), cell: (one) => <TextLink href={paths.importTable({ id: one.id })}><span lang="en">{one.into}</span></TextLink> },
            { key: "state", header: t("col.state"), cell: (one) => <StateBadge tone={IMPORT_TONES[one.state]} label={t(`import.state.${one.state}`)} /> },
            { key: "path", header: t("table.path"), grow: true, cell: (one) => <span className="mono" lang="en" title={one.path}>{shownPath(one.path)}</span> },
            { key: "rows", header: t("col.rows"), numeric: true, cell: (one) => format.count(one.progress.rows) },
            { key: "at", header: t("col.at"), numeric: true, cell: (one) => <When at={new Date(one.created_ms).toISOString()} /> },
          ]}
        />
      </Panel>
    </div>
  );
}
