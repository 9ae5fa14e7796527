import { UnstyledButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { tableQueries } from "~/api/lakehouse";
import { aboutRef } from "~/api/sql";
import type { QueryResult, TableDetail } from "~/api/types";
import { Load } from "~/components/Load";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { Panel } from "~/ui/Panel";
import classes from "./Files.module.css";
import { partitionText } from "./partition";

const PARTITIONS_MAX = 5000;
const SHOWN = 20;

interface Partition {
  partition: string;
  spec: number;
  rows: number;
  files: number;
  bytes: number;
  deleted_rows: number;
  at: string | null;
}

const partitionsOf = ({ rows }: QueryResult): Partition[] =>
  rows.map(([partition, spec, count, files, bytes, deleted, at]) => ({ partition: String(partition ?? ""), spec: Number(spec), rows: Number(count), files: Number(files), bytes: Number(bytes), deleted_rows: Number(deleted), at: at === null || at === undefined ? null : String(at) }));

/** How rows are spread; choosing one shows its files. */
export function Partitions({ table }: { table: TableDetail }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  const sql = `SELECT partition, spec_id, record_count, file_count, total_data_file_size_in_bytes, position_delete_record_count, last_updated_at FROM ${aboutRef(table, "partitions")} ORDER BY total_data_file_size_in_bytes DESC LIMIT ${PARTITIONS_MAX}`;
  const partitions = useQuery({ ...tableQueries.sql(["partitions", table.namespace, table.table, table.snapshot_id], sql), select: partitionsOf });
  return (
    <Panel flush title={t("col.partitions")} note={<span className="mono" lang="en">{table.partition_spec.map((one) => (one.transform === "identity" ? one.source : `${one.transform}(${one.source})`)).join(", ")}</span>}>
      <Load query={partitions}>
        {(items) => (
          <DataTable
            label={t("col.partitions")}
            rows={items}
            rowKey={(one) => `${one.spec}/${one.partition}`}
            rowsShown={SHOWN}
            sort={view.psort ?? "-bytes"}
            onSort={(psort) => setView({ psort })}
            columns={[
              {
                key: "partition",
                header: t("topic.partition"),
                grow: true,
                sort: (one) => one.partition,
                cell: (one) => (
                  <UnstyledButton className={`mono ${classes.pick}`} lang="en" aria-pressed={view.partition === one.partition} onClick={() => setView({ partition: view.partition === one.partition ? undefined : one.partition })}>
                    {partitionText(one.partition, table.partition_spec) || "–"}
                  </UnstyledButton>
                ),
              },
              { key: "rows", header: t("col.rows"), numeric: true, sort: (one) => one.rows, cell: (one) => format.count(one.rows) },
              { key: "deleted", header: t("table.deleted_rows"), numeric: true, sort: (one) => one.deleted_rows, cell: (one) => format.count(one.deleted_rows) },
              { key: "files", header: t("col.files"), numeric: true, sort: (one) => one.files, cell: (one) => format.count(one.files) },
              { key: "bytes", header: t("col.size"), numeric: true, sort: (one) => one.bytes, cell: (one) => format.bytes(one.bytes) },
              { key: "at", header: t("files.changed"), numeric: true, sort: (one) => one.at, cell: (one) => <When at={one.at} /> },
            ]}
          />
        )}
      </Load>
    </Panel>
  );
}
