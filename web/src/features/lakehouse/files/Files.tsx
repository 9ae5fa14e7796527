import { SegmentedControl, Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo } from "react";
import { FILES_MAX, tableQueries } from "~/api/lakehouse";
import type { TableDetail, TableFile } from "~/api/types";
import { Load } from "~/components/Load";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import type { Tile } from "~/ui/Treemap";
import classes from "./Files.module.css";
import { FileTable } from "./FileTable";
import { partitionValues, relative } from "./partition";
import { Partitions } from "./Partitions";
import { type FileNode, smallOf, treeOf, wornOf } from "./tree";

const Treemap = lazy(() => import("~/ui/Treemap"));
const MAP_HEIGHT = 420;

/** The files of the current snapshot: as a map of what is large and what is worn, and as a list. */
export function Files({ table }: { table: TableDetail }) {
  const t = useT();
  const files = useQuery(tableQueries.files(table, table.snapshot_id));
  return (
    <Load query={files}>
      {(items) =>
        items.length === 0 ? (
          <Panel>
            <EmptyState title={t("table.no_files")} text={t(table.topic ? "table.no_snapshots_hint" : "table.no_snapshots_sql")} />
          </Panel>
        ) : (
          <div className={classes.page}>
            <FileMap table={table} files={items} />
            <FileTable table={table} files={items} />
            {table.partition_spec.length > 0 && <Partitions table={table} />}
          </div>
        )
      }
    </Load>
  );
}

function FileMap({ table, files }: { table: TableDetail; files: TableFile[] }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  const bySize = view.colour === "small";
  const tree = useMemo(() => treeOf(files), [files]);
  const tiles = useMemo((): Tile[] => {
    const tile = (node: FileNode): Tile => ({
      id: node.path ?? `rest:${node.partition}`,
      name: node.path === null ? t("files.more", { count: node.files }) : (relative(node.path, table.location).split("/").at(-1) ?? ""),
      value: node.bytes,
      shade: bySize ? smallOf(node) : wornOf(node),
      lines: [format.bytes(node.bytes), t("files.tile_rows", { count: node.rows }), t("files.tile_deleted", { count: node.deleted_rows, share: format.percent(wornOf(node)) })],
    });
    return tree.map(({ partition, bytes, files: nodes }) => ({ id: `partition:${partition}`, name: partitionValues(partition, table.partition_spec) || table.table, value: bytes, children: nodes.map(tile) }));
  }, [tree, bySize, t, format, table.location, table.partition_spec, table.table]);
  const data = files.filter((file) => file.content === "data");
  const pick = (id: string) => {
    const partition = id.startsWith("partition:") ? id.slice(10) : (data.find((file) => file.path === id)?.partition ?? "");
    setView({ partition: partition === view.partition ? undefined : partition || undefined });
  };
  return (
    <Panel
      title={t("files.map")}
      note={table.files > FILES_MAX ? t("files.at_most", { count: FILES_MAX }) : t("files.map_note")}
      actions={
        <SegmentedControl
          size="xs"
          aria-label={t("files.colour")}
          value={bySize ? "small" : "worn"}
          onChange={(next) => setView({ colour: next === "small" ? "small" : undefined })}
          data={[
            { value: "worn", label: t("files.worn") },
            { value: "small", label: t("files.small") },
          ]}
        />
      }
    >
      <Suspense fallback={<Skeleton height={MAP_HEIGHT} />}>
        <Treemap label={t("files.map_label", { files: data.length, partitions: tree.length })} tiles={tiles} height={MAP_HEIGHT} onPick={pick} />
      </Suspense>
      <div className={classes.legend} aria-hidden>
        <span>{t(bySize ? "files.legend_large" : "files.legend_whole")}</span>
        <span className={classes.scale} />
        <span>{t(bySize ? "files.legend_small" : "files.legend_worn")}</span>
      </div>
    </Panel>
  );
}
