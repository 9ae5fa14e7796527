import type { Snapshot, TableDetail } from "~/api/types";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { type MessageKey, useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { scaleMax } from "~/ui/scale";
import classes from "./Snapshots.module.css";

const OPERATIONS: Record<string, MessageKey> = {
  append: "table.op.append",
  overwrite: "table.op.overwrite",
  replace: "table.op.replace",
  delete: "table.op.delete",
};

/** Compaction writes the same rows again; to a reader of the table nothing changed. */
const changesRows = (snapshot: Snapshot) => snapshot.operation !== "replace";

/** What was committed, newest first, along a line of time. */
export function Snapshots({ table }: { table: TableDetail }) {
  const t = useT();
  // A first load of everything must not make all later commits look alike.
  const most = scaleMax(table.snapshot_list.filter(changesRows).map((one) => one.added_rows + one.deleted_rows), 1);
  return (
    <Panel title={t("table.snapshots")} note={t("table.snapshots_note")}>
      {table.snapshot_list.length === 0 ? (
        <EmptyState title={t("table.no_snapshots")} text={t("table.no_snapshots_hint")} />
      ) : (
        <ol className={classes.line} aria-label={t("table.snapshots")}>
          {table.snapshot_list.map((snapshot) => (
            <SnapshotItem key={snapshot.id} table={table} snapshot={snapshot} most={most} />
          ))}
        </ol>
      )}
    </Panel>
  );
}

function SnapshotItem({ table, snapshot, most }: { table: TableDetail; snapshot: Snapshot; most: number }) {
  const t = useT();
  const format = useFormat();
  const current = snapshot.id === table.snapshot_id;
  const added = changesRows(snapshot) ? snapshot.added_rows : 0;
  const deleted = changesRows(snapshot) ? snapshot.deleted_rows : 0;
  const word = OPERATIONS[snapshot.operation];
  return (
    <li className={classes.item} data-current={current || undefined}>
      <div className={classes.head}>
        <strong>{word ? t(word) : snapshot.operation}</strong>
        <When at={snapshot.at} />
        <TextLink href={paths.table(table.name, { snapshot: snapshot.id })}>
          <span className="mono">{snapshot.id}</span>
        </TextLink>
        {current && <span className={classes.current}>{t("table.current")}</span>}
      </div>
      <div className={classes.figures}>
        <span className={classes.bars} aria-hidden>
          <span className={classes.added} style={{ width: `${Math.min(100, (100 * added) / most)}%` }} />
          <span className={classes.deleted} style={{ width: `${(100 * deleted) / most}%` }} />
        </span>
        <span className={classes.plus} data-zero={added === 0 || undefined}>+{format.count(added)}</span>
        <span className={classes.minus} data-zero={deleted === 0 || undefined}>−{format.count(deleted)}</span>
        <span className="dim">
          {t("table.snapshot_note", { files: snapshot.added_files, rows: format.count(snapshot.total_rows) })}
        </span>
      </div>
    </li>
  );
}
