import { Stack } from "@mantine/core";
import type { TableDetail } from "~/api/types";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { CopyIcon } from "~/ui/CopyIcon";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";

/** Where it lies, what Iceberg knows of it, and how other engines read it. */
export function Properties({ table }: { table: TableDetail }) {
  const t = useT();
  const properties = Object.entries(table.properties).map(([label, value]) => ({ label, value: <span className="mono">{value}</span> }));
  const python = [
    "from pyiceberg.catalog import load_catalog",
    `catalog = load_catalog("tarn", uri="${window.location.origin}/iceberg")`,
    `catalog.load_table("${table.name}").scan(limit=10).to_arrow()`,
  ].join("\n");
  return (
    <Stack gap="md">
      <Panel title={t("table.properties")}>
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
    </Stack>
  );
}
