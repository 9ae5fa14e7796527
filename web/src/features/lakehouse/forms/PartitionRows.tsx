import { ActionIcon, Button, NativeSelect, TextInput } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { nextId } from "./ColumnRows";
import { exampleOf, type PartitionDraft, type TableDraft, TRANSFORMS, transformsOf } from "./draft";
import classes from "./Forms.module.css";

interface Props {
  draft: TableDraft;
  fault: (place: string) => ReactNode;
  onChange: (partitions: PartitionDraft[]) => void;
}

/** How files are laid out, each way with what it gives. */
export function PartitionRows({ draft, fault, onChange }: Props) {
  const t = useT();
  const { partitions, columns } = draft;
  const set = (id: number, more: Partial<PartitionDraft>) => onChange(partitions.map((one) => (one.id === id ? { ...one, ...more } : one)));
  // A time is what most tables are best laid out by.
  const first = columns.find((column) => transformsOf(column.type).includes("day")) ?? columns[0];
  const add = () => first && onChange([...partitions, { id: nextId(partitions), column: first.id, transform: transformsOf(first.type).includes("month") ? "month" : "identity", width: "16" }]);
  return (
    <Panel
      title={t("table.partitioning")}
      note={t("form.partitions_note")}
      actions={
        <Button variant="default" leftSection={<IconPlus size={15} />} disabled={columns.length === 0} onClick={add}>
          {t("form.add_partition")}
        </Button>
      }
    >
      {partitions.length === 0 && <div className="dim">{t("form.partitions_none")}</div>}
      <ul className={classes.rows} aria-label={t("table.partitioning")}>
        {partitions.map((one, index) => {
          const type = columns.find(({ id }) => id === one.column)?.type ?? "";
          const allowed = transformsOf(type);
          const sized = one.transform === "bucket" || one.transform === "truncate";
          const example = exampleOf(one.transform, type, one.width);
          return (
            <li key={one.id} className={classes.partition}>
              <NativeSelect aria-label={t("form.partition_column", { number: index + 1 })} value={String(one.column)} onChange={(event) => set(one.id, { column: Number(event.currentTarget.value) })} data={columns.map((column) => ({ value: String(column.id), label: column.name || "–" }))} />
              <NativeSelect
                aria-label={t("form.partition_transform", { number: index + 1 })}
                value={one.transform}
                onChange={(event) => set(one.id, { transform: TRANSFORMS.find((transform) => transform === event.currentTarget.value) ?? "identity", width: event.currentTarget.value === "truncate" ? "4" : "16" })}
                data={TRANSFORMS.map((transform) => ({ value: transform, label: transform, disabled: !allowed.includes(transform) }))}
              />
              {sized ? <TextInput aria-label={t("form.width")} inputMode="numeric" value={one.width} onChange={(event) => set(one.id, { width: event.currentTarget.value })} /> : <span />}
              <ActionIcon variant="subtle" color="gray" aria-label={t("form.remove_partition", { number: index + 1 })} onClick={() => onChange(partitions.filter((other) => other.id !== one.id))}>
                <IconTrash size={15} />
              </ActionIcon>
              <div className={classes.about}>
                {fault(`partition.${one.id}`) && <span style={{ color: "var(--bad)" }} role="alert">{fault(`partition.${one.id}`)} </span>}
                {t(`form.transform.${one.transform}`)} {example && <>{t("form.example")} <code>{example[0]}</code> → <code>{example[1]}</code></>}
              </div>
            </li>
          );
        })}
      </ul>
    </Panel>
  );
}
