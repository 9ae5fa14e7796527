import { ActionIcon, Button, Checkbox, TextInput } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconPlus, IconTrash } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { type ColumnDraft, TYPES } from "./draft";
import classes from "./Forms.module.css";

interface Props {
  columns: ColumnDraft[];
  fault: (place: string) => ReactNode;
  onChange: (columns: ColumnDraft[]) => void;
}

export const nextId = (all: { id: number }[]) => Math.max(0, ...all.map(({ id }) => id)) + 1;

/** The columns of a table that is made. */
export function ColumnRows({ columns, fault, onChange }: Props) {
  const t = useT();
  const set = (id: number, more: Partial<ColumnDraft>) => onChange(columns.map((one) => (one.id === id ? { ...one, ...more } : one)));
  const move = (index: number, by: number) => {
    const next = [...columns];
    const [one] = next.splice(index, 1);
    if (one) next.splice(index + by, 0, one);
    onChange(next);
  };
  return (
    <Panel
      title={t("form.columns")}
      note={t("form.columns_note")}
      actions={
        <Button variant="default" leftSection={<IconPlus size={15} />} onClick={() => onChange([...columns, { id: nextId(columns), name: "", type: "TEXT", required: false, key: false }])}>
          {t("form.add_column")}
        </Button>
      }
    >
      <datalist id="column-types">{TYPES.map((name) => <option key={name} value={name} />)}</datalist>
      <ol className={classes.rows} aria-label={t("form.columns")}>
        {columns.map((column, index) => (
          <li key={column.id} className={classes.column}>
            <TextInput aria-label={t("form.column_name", { number: index + 1 })} placeholder={t("col.name")} value={column.name} onChange={(event) => set(column.id, { name: event.currentTarget.value })} error={fault(`column.${column.id}.name`)} />
            <TextInput aria-label={t("form.column_type", { number: index + 1 })} placeholder={t("col.type")} list="column-types" classNames={{ input: "mono" }} value={column.type} onChange={(event) => set(column.id, { type: event.currentTarget.value })} error={fault(`column.${column.id}.type`)} />
            <Checkbox label={t("topic.key")} checked={column.key} onChange={(event) => set(column.id, { key: event.currentTarget.checked })} />
            <Checkbox label={t("table.required")} checked={column.required || column.key} disabled={column.key} onChange={(event) => set(column.id, { required: event.currentTarget.checked })} />
            <span className={classes.icons}>
              <ActionIcon variant="subtle" color="gray" disabled={index === 0} aria-label={t("form.up", { name: column.name || String(index + 1) })} onClick={() => move(index, -1)}>
                <IconArrowUp size={15} />
              </ActionIcon>
              <ActionIcon variant="subtle" color="gray" disabled={index === columns.length - 1} aria-label={t("form.down", { name: column.name || String(index + 1) })} onClick={() => move(index, 1)}>
                <IconArrowDown size={15} />
              </ActionIcon>
              <ActionIcon variant="subtle" color="gray" aria-label={t("form.remove", { name: column.name || String(index + 1) })} onClick={() => onChange(columns.filter((one) => one.id !== column.id))}>
                <IconTrash size={15} />
              </ActionIcon>
            </span>
          </li>
        ))}
      </ol>
      {fault("columns") && <div style={{ color: "var(--bad)" }}>{fault("columns")}</div>}
    </Panel>
  );
}
