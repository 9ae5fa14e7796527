import { Button, Checkbox, Group, Modal, Stack, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconTrash } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { tableCommands } from "~/api/lakehouse";
import { queries } from "~/api/queries";
import { tableRef } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { Panel } from "~/ui/Panel";

/** Drops a table once its name was typed. */
export function DropTable({ table }: { table: TableDetail }) {
  const t = useT();
  const may = useMay();
  const [asking, modal] = useDisclosure();
  const why = !may.edit ? t("common.not_allowed") : table.topic ? t("form.drop_fed") : undefined;
  return (
    <Panel title={t("form.drop")}>
      <Group justify="space-between" gap={12}>
        <span className="dim">{why ?? t("form.drop_note")}</span>
        <Button variant="default" leftSection={<IconTrash size={15} />} disabled={why !== undefined} onClick={modal.open}>
          {t("form.drop")}
        </Button>
      </Group>
      {asking && <DropDialog table={table} onClose={modal.close} />}
    </Panel>
  );
}

function DropDialog({ table, onClose }: { table: TableDetail; onClose: () => void }) {
  const t = useT();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [typed, setTyped] = useState("");
  const [purge, setPurge] = useState(false);
  const sql = `DROP TABLE ${tableRef(table)}${purge ? " PURGE" : ""}`;
  const drop = useMutation({
    mutationFn: () => tableCommands.run(sql),
    onSuccess: async () => {
      // The list must not show for a moment what is gone.
      client.setQueryData(queries.tables.queryKey, (before) => before?.filter((one) => one.name !== table.name));
      await navigate({ to: paths.tables() });
      toast(t("form.dropped", { name: table.name }));
      await client.invalidateQueries({ queryKey: ["lakehouse", "list"] });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (typed === table.name) drop.mutate();
  };
  return (
    <Modal opened onClose={onClose} title={t("form.drop_title", { name: table.name })} closeButtonProps={{ "aria-label": t("common.close") }}>
      <form onSubmit={submit} noValidate>
        <Stack gap="md">
          <div>{t("form.drop_text", { rows: table.rows, snapshots: table.snapshots })}</div>
          <Checkbox checked={purge} onChange={(event) => setPurge(event.currentTarget.checked)} label={t("form.purge")} description={t(purge ? "form.purge_on" : "form.purge_off")} />
          <TextInput data-autofocus label={t("form.drop_type", { name: table.name })} value={typed} autoComplete="off" onChange={(event) => setTyped(event.currentTarget.value)} />
          <CodeBlock code={sql} label="SQL" />
          {drop.error && <ErrorNote error={drop.error} />}
          <Group justify="flex-end" gap={8}>
            <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
            <Button type="submit" color="red.8" disabled={typed !== table.name} loading={drop.isPending}>{t("form.drop")}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
