import { Button } from "@mantine/core";
import type { TableDetail } from "~/api/types";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";
import { CompareRows } from "./CompareRows";
import { figuresOf } from "./figures";
import { between, sumOf } from "./lineage";
import classes from "./Snapshots.module.css";

interface Props {
  table: TableDetail;
  /** One or two, the older first. */
  pair: string[];
  onClear: () => void;
}

/** What became of the table between two snapshots. */
export function Compare({ table, pair, onClear }: Props) {
  const t = useT();
  const format = useFormat();
  const [from, to] = pair.map((id) => table.snapshot_list.find((snapshot) => snapshot.id === id));
  const clear = (
    <Button variant="default" onClick={onClear}>
      {t("snapshot.compare_clear")}
    </Button>
  );
  if (!from || !to) {
    return (
      <Panel title={t("snapshot.compare")} actions={clear}>
        {t("snapshot.compare_second")}
      </Panel>
    );
  }
  const commits = between(table.snapshot_list, from.id, to.id);
  const sum = sumOf(commits ?? []);
  return (
    <Panel title={t("snapshot.compare")} note={<span className="mono">{from.id} → {to.id}</span>} actions={clear}>
      <div className={classes.compare}>
        <Facts
          items={[
            { label: t("snapshot.compare_from"), value: <When at={from.at} /> },
            { label: t("snapshot.compare_to"), value: <When at={to.at} /> },
            { label: t("snapshot.compare_rows"), value: `${format.count(figuresOf(from).live_rows)} → ${format.count(figuresOf(to).live_rows)}` },
            ...(commits
              ? [
                  { label: t("snapshot.compare_commits"), value: format.count(sum.commits) },
                  { label: t("snapshot.compare_added"), hint: t("snapshot.compare_hint"), value: <span className={classes.plus}>+{format.count(sum.added_rows)}</span> },
                  { label: t("snapshot.compare_deleted"), value: <span className={classes.minus}>−{format.count(sum.deleted_rows)}</span> },
                  { label: t("col.files"), value: `+${format.count(sum.added_files)} −${format.count(sum.removed_files)}` },
                  { label: t("snapshot.size_change"), value: `${sum.bytes < 0 ? "−" : "+"}${format.bytes(Math.abs(sum.bytes))}` },
                ]
              : []),
          ]}
        />
        {!commits && <div className="dim">{t("snapshot.compare_apart")}</div>}
        <CompareRows key={pair.join()} table={table} from={from.id} to={to.id} isLine={commits !== undefined} />
      </div>
    </Panel>
  );
}
