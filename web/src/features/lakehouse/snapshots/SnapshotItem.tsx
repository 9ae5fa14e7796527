import { Checkbox, UnstyledButton } from "@mantine/core";
import { IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import type { Snapshot, TableDetail } from "~/api/types";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { asOf } from "~/api/sql";
import { figuresOf, kindOf, writerOf } from "./figures";
import type { Ref } from "./refs";
import { RefBadge } from "./RefBadge";
import { SnapshotDetails } from "./SnapshotDetails";
import { SnapshotMenu } from "./SnapshotMenu";
import classes from "./Snapshots.module.css";

interface Props {
  table: TableDetail;
  snapshot: Snapshot;
  /** Rows that fill the bar. */
  most: number;
  refs: Ref[];
  /** The table came from it, or is it. */
  isPast: boolean;
  /** The branch that it is of, where the table did not come from it. */
  branch: string | undefined;
  opened: boolean;
  chosen: boolean;
  onOpen: (id: string) => void;
  onChoose: (id: string) => void;
}

export function SnapshotItem({ table, snapshot, most, refs, isPast, branch, opened, chosen, onOpen, onChoose }: Props) {
  const t = useT();
  const format = useFormat();
  const current = snapshot.id === table.snapshot_id;
  const figures = figuresOf(snapshot);
  const kind = kindOf(snapshot);
  const names = refs.filter((ref) => ref.snapshot_id === snapshot.id);
  const writer = writerOf(snapshot);
  return (
    <li id={`snapshot-${snapshot.id}`} className={classes.item} data-current={current || undefined} data-left={(!isPast && branch === undefined) || undefined} data-branch={branch !== undefined || undefined} data-opened={opened || undefined}>
      <div className={classes.head}>
        <Checkbox size="xs" checked={chosen} onChange={() => onChoose(snapshot.id)} aria-label={t("snapshot.choose", { id: snapshot.id })} title={t("snapshot.choose_hint")} />
        <UnstyledButton className={classes.title} aria-expanded={opened} onClick={() => onOpen(snapshot.id)}>
          {opened ? <IconChevronDown size={14} aria-hidden /> : <IconChevronRight size={14} aria-hidden />}
          <strong>{kind ? t(`table.op.${kind}`) : snapshot.operation}</strong>
          <span className="mono">{snapshot.id}</span>
        </UnstyledButton>
        <span className="dim">
          <When at={snapshot.at} />
        </span>
        {current && <span className={classes.current}>{t("table.current")}</span>}
        {!isPast && branch === undefined && <span className={classes.left} title={t("snapshot.left_hint")}>{t("snapshot.left")}</span>}
        {branch !== undefined && !names.some((ref) => ref.name === branch) && <span className={classes.onBranch}>{t("snapshot.on_branch", { name: branch })}</span>}
        {names.map((ref) => (
          <RefBadge key={ref.name} table={table} reference={ref} />
        ))}
        {writer && <span className="dim" lang="en">{writer}</span>}
        <span className={classes.actions}>
          <TextLink href={paths.table(table.name, { snapshot: snapshot.id })}>{t("snapshot.rows")}</TextLink>
          <TextLink href={paths.sql({ q: `SELECT *\nFROM ${asOf(table, snapshot.id)}\nLIMIT 100`, run: "1" })}>{t("snapshot.query")}</TextLink>
          <SnapshotMenu table={table} snapshot={snapshot} refs={refs} isPast={isPast} />
        </span>
      </div>
      <div className={classes.figures}>
        <span className={classes.bars} aria-hidden>
          <span className={classes.added} style={{ width: `${Math.min(100, (100 * figures.added_rows) / most)}%` }} />
          <span className={classes.deleted} style={{ width: `${Math.min(100, (100 * figures.deleted_rows) / most)}%` }} />
        </span>
        <span className={classes.plus} data-zero={figures.added_rows === 0 || undefined}>+{format.count(figures.added_rows)}</span>
        <span className={classes.minus} data-zero={figures.deleted_rows === 0 || undefined}>−{format.count(figures.deleted_rows)}</span>
        <span className="dim">{t("snapshot.files", { added: figures.added_files, removed: figures.removed_files, rows: format.count(figures.live_rows) })}</span>
      </div>
      {opened && <SnapshotDetails table={table} snapshot={snapshot} />}
    </li>
  );
}
