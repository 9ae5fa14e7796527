import type { Snapshot, TableDetail } from "~/api/types";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { CopyIcon } from "~/ui/CopyIcon";
import { Facts } from "~/ui/Facts";
import { figuresOf, writerOf } from "./figures";
import classes from "./Snapshots.module.css";

/** All that a snapshot says of itself: what a person asks first, then the writer's own words. */
export function SnapshotDetails({ table, snapshot }: { table: TableDetail; snapshot: Snapshot }) {
  const t = useT();
  const format = useFormat();
  const figures = figuresOf(snapshot);
  const summary = Object.entries(snapshot.summary).toSorted(([a], [b]) => a.localeCompare(b));
  const parent = table.snapshot_list.some((one) => one.id === snapshot.parent_id);
  return (
    <div className={classes.details}>
      <Facts
        items={[
          { label: t("col.at"), value: format.date(snapshot.at) },
          { label: t("snapshot.id"), value: <><span className="mono">{snapshot.id}</span> <CopyIcon text={snapshot.id} /></> },
          {
            label: t("snapshot.parent"),
            value: snapshot.parent_id === null ? t("common.none") : parent ? <TextLink href={paths.table(table.name, { tab: "snapshots", open: snapshot.parent_id })}><span className="mono">{snapshot.parent_id}</span></TextLink> : <span>{t("snapshot.parent_expired")}</span>,
          },
          { label: t("snapshot.writer"), value: <span lang="en">{writerOf(snapshot) ?? "–"}</span> },
          { label: t("snapshot.size_change"), value: `${figures.bytes < 0 ? "−" : "+"}${format.bytes(Math.abs(figures.bytes))}` },
        ]}
      />
      {summary.length > 0 && (
        <dl className={classes.summary} aria-label={t("snapshot.summary")} lang="en">
          {summary.map(([name, value]) => (
            <div key={name}>
              <dt className="mono">{name}</dt>
              <dd className="mono">{/^\d+$/.test(value) && value.length < 16 ? format.count(Number(value)) : value}</dd>
            </div>
          ))}
        </dl>
      )}
    </div>
  );
}
