import { Group, Switch } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { tableCommands } from "~/api/lakehouse";
import { literal, tableRef } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { isOn, propertyOf, SWITCHES } from "./savings";

/** Which services may start by themselves; kept as properties of the table. */
export function Switches({ table }: { table: TableDetail }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const set = useMutation({
    mutationFn: ({ name, on }: { name: string; on: boolean }) => tableCommands.run(`ALTER TABLE ${tableRef(table)} SET (${literal(name)} = ${literal(String(on))})`),
    onSettled: () => client.invalidateQueries({ queryKey: ["lakehouse"] }),
  });
  const all = isOn(table.properties, "all");
  return (
    <Panel title={t("service.automatic")} note={t("service.automatic_note")}>
      <Group gap={24}>
        {(["all", ...SWITCHES] as const).map((service) => (
          <Switch
            key={service}
            size="sm"
            label={t(`service.switch.${service}`)}
            checked={isOn(table.properties, service) && (all || service === "all")}
            disabled={!may.edit || set.isPending || (service !== "all" && !all)}
            title={may.edit ? propertyOf(service) : t("common.not_allowed")}
            onChange={(event) => set.mutate({ name: propertyOf(service), on: event.currentTarget.checked })}
          />
        ))}
      </Group>
      {set.error && <ErrorNote error={set.error} />}
    </Panel>
  );
}
