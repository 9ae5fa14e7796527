import { Button, Group, Switch } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPlayerPause } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { tableCommands, tableQueries } from "~/api/lakehouse";
import { literal, tableRef } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { Confirm } from "~/components/Confirm";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { isOn, propertyOf, SWITCHES } from "./savings";

/** Holds all services of all tables, for a while in which the machine is needed for something else. */
function Pause() {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const services = useQuery(tableQueries.services).data;
  const [asking, modal] = useDisclosure();
  // While they stand still, the page says so above and offers to go on.
  if (!services || services.paused) return null;
  return (
    <>
      <Button variant="default" leftSection={<IconPlayerPause size={15} />} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} onClick={modal.open}>
        {t("service.pause")}
      </Button>
      <Confirm
        opened={asking}
        onClose={modal.close}
        title={t("service.pause_title")}
        text={t("service.pause_text")}
        verb={t("service.pause_verb")}
        run={async () => {
          await tableCommands.pauseServices(true);
          await client.invalidateQueries({ queryKey: ["lakehouse", "services"] });
        }}
      />
    </>
  );
}

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
    <Panel title={t("service.automatic")} note={t("service.automatic_note")} actions={<Pause />}>
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
