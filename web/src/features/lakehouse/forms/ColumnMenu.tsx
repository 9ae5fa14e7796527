import { ActionIcon, Menu } from "@mantine/core";
import { IconDots } from "@tabler/icons-react";
import type { TableDetail, TableField } from "~/api/types";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";
import { type Alteration, widerTypes } from "./alter";

interface Props {
  table: TableDetail;
  field: TableField;
  onChoose: (change: Alteration) => void;
}

/** What can be changed about a column. */
export function ColumnMenu({ table, field, onChoose }: Props) {
  const t = useT();
  const may = useMay();
  const types = widerTypes(field.type);
  const column = field.name;
  const item = (change: Alteration, disabled = false) => (
    <Menu.Item key={change.kind} disabled={disabled} onClick={() => onChoose(change)}>
      {t(`form.menu.${change.kind as "rename" | "widen" | "comment" | "move" | "optional" | "required" | "drop"}`)}
    </Menu.Item>
  );
  return (
    <Menu position="bottom-end" withArrow>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="sm" disabled={!may.edit} aria-label={t("form.change_column", { name: column })} title={may.edit ? t("form.change_column", { name: column }) : t("common.not_allowed")}>
          <IconDots size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {item({ kind: "rename", column })}
        {item({ kind: "widen", column, types }, types.length === 0)}
        {item({ kind: "comment", column, value: field.doc ?? "" })}
        {item({ kind: "move", column }, table.schema.length < 2)}
        {field.required ? item({ kind: "optional", column }, field.key === true) : item({ kind: "required", column })}
        <Menu.Divider />
        {item({ kind: "drop", column }, field.key === true)}
      </Menu.Dropdown>
    </Menu>
  );
}
