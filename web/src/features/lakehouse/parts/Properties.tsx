import { ActionIcon, Button, Stack } from "@mantine/core";
import { IconCursorText, IconPencil, IconPlus } from "@tabler/icons-react";
import { useState } from "react";
import type { TableDetail } from "~/api/types";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { CopyIcon } from "~/ui/CopyIcon";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";
import type { Alteration } from "../forms/alter";
import { AlterDialog } from "../forms/AlterDialog";
import { OWN_PROPERTIES } from "../schema/notes";
import { DropTable } from "../forms/DropTable";

/** Where it lies, what Iceberg knows of it, and how other engines read it. */
export function Properties({ table }: { table: TableDetail }) {
  const t = useT();
  const may = useMay();
  const [change, setChange] = useState<Alteration | null>(null);
  const properties = Object.entries(table.properties).filter(([name]) => !OWN_PROPERTIES.includes(name)).map(([name, value]) => ({
    label: name,
    value: (
      <>
        <span className="mono">{value}</span>
        {may.edit && name !== "tarn.key" && (
          <ActionIcon variant="subtle" color="gray" size="sm" ml={6} aria-label={t("form.set_property", { name })} title={t("form.set_property", { name })} onClick={() => setChange({ kind: "property", name, value })}>
            <IconPencil size={14} />
          </ActionIcon>
        )}
      </>
    ),
  }));
  const python = [
    "from pyiceberg.catalog import load_catalog",
    `catalog = load_catalog("tarn", uri="${window.location.origin}/iceberg")`,
    `catalog.load_table("${table.name}").scan(limit=10).to_arrow()`,
  ].join("\n");
  return (
    <Stack gap="md">
      <Panel
        title={t("table.properties")}
        actions={
          <>
            <Button variant="default" leftSection={<IconCursorText size={15} />} disabled={!may.edit || table.topic !== null} title={may.edit ? (table.topic ? t("form.rename_fed") : undefined) : t("common.not_allowed")} onClick={() => setChange({ kind: "table_name" })}>
              {t("form.rename_table")}
            </Button>
            <Button variant="default" leftSection={<IconPlus size={15} />} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} onClick={() => setChange({ kind: "property" })}>
              {t("form.add_property")}
            </Button>
          </>
        }
      >
        <Facts
          stacked
          items={[
            { label: t("table.location"), value: <><span className="mono">{table.location}</span> <CopyIcon text={table.location} /></> },
            { label: t("table.format"), value: `Apache Iceberg v${table.format_version}` },
            { label: t("topic.key"), value: table.key.length > 0 ? <span className="mono">{table.key.join(", ")}</span> : t("common.none") },
            { label: t("subject.topic"), value: table.topic ? <TextLink href={paths.topic(table.topic)}>{table.topic}</TextLink> : "–" },
            ...properties,
          ]}
        />
      </Panel>
      <Panel title={t("table.elsewhere")} note={t("table.elsewhere_note")}>
        <CodeBlock code={python} label={t("table.elsewhere")} />
      </Panel>
      <DropTable table={table} />
      {change && <AlterDialog table={table} change={change} onClose={() => setChange(null)} />}
    </Stack>
  );
}
