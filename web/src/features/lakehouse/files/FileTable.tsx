import { Button } from "@mantine/core";
import type { TableDetail, TableFile } from "~/api/types";
import { Filters, matches } from "~/components/Filters";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import classes from "./Files.module.css";
import { partitionText, relative } from "./partition";

/** Rows that are drawn at first; a browser grows slow with thousands. */
const SHOWN = 25;

export function FileTable({ table, files }: { table: TableDetail; files: TableFile[] }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  const shown = files.filter(
    (file) => (!view.partition || file.partition === view.partition) && (!view.content || file.content === view.content) && matches(view.q, file.path),
  );
  const worn = (file: TableFile) => (file.rows === 0 ? 0 : file.deleted_rows / file.rows);
  return (
    <Panel
      flush
      title={t("files.count", { count: shown.length })}
      note={
        view.partition && (
          <span className="mono" lang="en">
            {partitionText(view.partition, table.partition_spec)}
          </span>
        )
      }
      actions={
        <>
          {view.partition && (
            <Button variant="default" onClick={() => setView({ partition: undefined })}>
              {t("files.all_partitions")}
            </Button>
          )}
          <Filters
            label={t("files.search")}
            choices={[{ key: "content", label: t("table.content"), options: (["data", "position_deletes"] as const).map((value) => ({ value, label: t(`table.content.${value}`) })) }]}
          />
        </>
      }
    >
      <DataTable
        label={t("col.files")}
        rows={shown}
        rowKey={(file) => file.path}
        rowsShown={SHOWN}
        sort={view.sort ?? "-bytes"}
        onSort={(sort) => setView({ sort })}
        columns={[
          { key: "path", header: t("table.path"), grow: true, sort: (f) => f.path, cell: (f) => <span className={`mono ${classes.path}`} lang="en" title={f.path}>{relative(f.path, table.location)}</span> },
          { key: "content", header: t("table.content"), sort: (f) => f.content, cell: (f) => t(`table.content.${f.content}`) },
          { key: "rows", header: t("col.rows"), numeric: true, sort: (f) => f.rows, cell: (f) => format.count(f.rows) },
          { key: "deleted", header: t("table.deleted_rows"), numeric: true, sort: worn, cell: (f) => (f.deleted_rows === 0 ? <span className="dim">0</span> : <>{format.count(f.deleted_rows)} <span className="dim">{format.percent(worn(f))}</span></>) },
          { key: "bytes", header: t("col.size"), numeric: true, sort: (f) => f.bytes, cell: (f) => format.bytes(f.bytes) },
        ]}
        empty={
          <EmptyState
            title={t("common.no_match")}
            action={
              <Button variant="default" onClick={() => setView({ q: undefined, partition: undefined, content: undefined })}>
                {t("common.clear_filters")}
              </Button>
            }
          />
        }
      />
    </Panel>
  );
}
