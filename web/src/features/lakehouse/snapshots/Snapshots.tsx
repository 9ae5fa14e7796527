import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { tableQueries } from "~/api/lakehouse";
import { tableRef } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { scaleMax } from "~/ui/scale";
import { Compare } from "./Compare";
import { figuresOf } from "./figures";
import { branchesOf, lineOf, parsePair, togglePair } from "./lineage";
import { Refs } from "./Refs";
import { type Ref, refsOf } from "./refs";
import { SnapshotItem } from "./SnapshotItem";
import { SnapshotStrip } from "./SnapshotStrip";
import classes from "./Snapshots.module.css";

const NO_REFS: Ref[] = [];

/** What was committed along a line of time: look at it, compare two, name one, go back. */
export function Snapshots({ table }: { table: TableDetail }) {
  const t = useT();
  const [view, setView] = useView();
  const all = table.snapshot_list;
  // A table without a snapshot has no names either, and the server would say that there is nothing to read.
  const refs = useQuery({ ...tableQueries.refs(table), enabled: all.length > 0, select: refsOf }).data ?? NO_REFS;
  const line = useMemo(() => new Set(lineOf(all, table.snapshot_id).map(({ id }) => id)), [all, table.snapshot_id]);
  const branches = useMemo(() => branchesOf(all, line, refs), [all, line, refs]);
  const pair = parsePair(view.compare).filter((id) => all.some((snapshot) => snapshot.id === id));
  if (all.length === 0) {
    return (
      <Panel title={t("table.snapshots")}>
        <EmptyState title={t("table.no_snapshots")} text={t(table.topic ? "table.no_snapshots_hint" : "table.no_snapshots_sql")} code={table.topic ? undefined : `INSERT INTO ${tableRef(table)} VALUES (…);`} />
      </Panel>
    );
  }
  // A first load of everything must not make all later commits look alike.
  const most = scaleMax(all.flatMap((one) => [figuresOf(one).added_rows, figuresOf(one).deleted_rows]), 1);
  const toggle = (id: string) => setView({ compare: togglePair(pair, id, all) });
  const open = (id: string) => setView({ open: view.open === id ? undefined : id });
  return (
    <div className={classes.page}>
      <Panel title={t("table.snapshots")} note={t("snapshot.note")}>
        <SnapshotStrip
          snapshots={all}
          most={most}
          refs={refs}
          current={table.snapshot_id}
          pair={pair}
          onOpen={(id) => {
            setView({ open: id });
            document.getElementById(`snapshot-${id}`)?.scrollIntoView({ block: "center" });
          }}
        />
      </Panel>
      <Refs table={table} refs={refs} />
      {pair.length > 0 && <Compare table={table} pair={pair} onClear={() => setView({ compare: undefined })} />}
      <Panel>
        <ol className={classes.line} aria-label={t("table.snapshots")}>
          {all.map((snapshot) => (
            <SnapshotItem
              key={snapshot.id}
              table={table}
              snapshot={snapshot}
              most={most}
              refs={refs}
              isPast={line.has(snapshot.id)}
              branch={branches.get(snapshot.id)}
              opened={view.open === snapshot.id}
              chosen={pair.includes(snapshot.id)}
              onOpen={open}
              onChoose={toggle}
            />
          ))}
        </ol>
      </Panel>
    </div>
  );
}
