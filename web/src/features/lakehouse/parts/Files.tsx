import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { TableDetail } from "~/api/types";
import { Load } from "~/components/Load";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";

/** A path below the table's own place without it; the whole path elsewhere. */
function relative(path: string, location: string): string {
  const place = `${location.replace(/\/$/, "")}/`;
  return path.startsWith(place) ? path.slice(place.length) : path;
}

/** The files of the current snapshot. */
export function Files({ table }: { table: TableDetail }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  const files = useQuery(queries.tableFiles(table.namespace, table.table));
  return (
    <Panel flush title={t("col.files")} note={t("table.files_note")}>
      <Load query={files}>
        {(items) => (
          <DataTable
            label={t("col.files")}
            rows={items}
            rowKey={(file) => file.path}
            sort={view.sort ?? "-rows"}
            onSort={(sort) => setView({ sort })}
            columns={[
              { key: "path", header: t("table.path"), grow: true, sort: (f) => f.path, cell: (f) => <span className="mono" lang="en" title={f.path}>{relative(f.path, table.location)}</span> },
              { key: "content", header: t("table.content"), sort: (f) => f.content, cell: (f) => t(`table.content.${f.content}`) },
              { key: "partition", header: t("topic.partition"), sort: (f) => f.partition, cell: (f) => f.partition || "–" },
              { key: "rows", header: t("col.rows"), numeric: true, sort: (f) => f.rows, cell: (f) => format.count(f.rows) },
              { key: "deleted", header: t("table.deleted_rows"), numeric: true, sort: (f) => f.deleted_rows, cell: (f) => format.count(f.deleted_rows) },
              { key: "bytes", header: t("col.size"), numeric: true, sort: (f) => f.bytes, cell: (f) => format.bytes(f.bytes) },
            ]}
            empty={<EmptyState title={t("table.no_files")} text={t("table.no_snapshots_hint")} />}
          />
        )}
      </Load>
    </Panel>
  );
}
