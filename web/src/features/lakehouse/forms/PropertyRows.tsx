import { ActionIcon, Button, TextInput } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { nextId } from "./ColumnRows";
import { type PropertyDraft, PROPERTIES } from "./draft";
import classes from "./Forms.module.css";

interface Props {
  properties: PropertyDraft[];
  fault: (place: string) => ReactNode;
  onChange: (properties: PropertyDraft[]) => void;
}

export function PropertyRows({ properties, fault, onChange }: Props) {
  const t = useT();
  const set = (id: number, more: Partial<PropertyDraft>) => onChange(properties.map((one) => (one.id === id ? { ...one, ...more } : one)));
  return (
    <Panel
      title={t("table.properties")}
      note={t("form.properties_note")}
      actions={
        <Button variant="default" leftSection={<IconPlus size={15} />} onClick={() => onChange([...properties, { id: nextId(properties), name: "", value: "" }])}>
          {t("form.add_property")}
        </Button>
      }
    >
      <datalist id="property-names">{PROPERTIES.map((name) => <option key={name} value={name} />)}</datalist>
      {properties.length === 0 && <div className="dim">{t("form.properties_none")}</div>}
      <ul className={classes.rows} aria-label={t("table.properties")}>
        {properties.map((one, index) => (
          <li key={one.id} className={classes.property}>
            <TextInput aria-label={t("form.property_name", { number: index + 1 })} placeholder={t("col.name")} list="property-names" value={one.name} onChange={(event) => set(one.id, { name: event.currentTarget.value })} error={fault(`property.${one.id}`)} />
            <TextInput aria-label={t("form.property_value", { number: index + 1 })} placeholder={t("form.value")} value={one.value} onChange={(event) => set(one.id, { value: event.currentTarget.value })} />
            <ActionIcon variant="subtle" color="gray" aria-label={t("form.remove", { name: one.name || String(index + 1) })} onClick={() => onChange(properties.filter((other) => other.id !== one.id))}>
              <IconTrash size={15} />
            </ActionIcon>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
