import { Button, Group, Modal, NativeSelect, Stack, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { commands, queries } from "~/api/queries";
import type { Role } from "~/api/types";
import { ErrorNote, Note } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { RemoveButton } from "./RemoveButton";
import { RoleSelect } from "./RoleSelect";

const LIFETIMES = ["30d", "90d", "365d", ""] as const;

export function Keys() {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const keys = useQuery(queries.keys);
  const [opened, modal] = useDisclosure();
  const refresh = () => client.invalidateQueries({ queryKey: ["keys"] });
  const add = (
    <Button leftSection={<IconPlus size={15} />} disabled={!may.admin} onClick={modal.open}>
      {t("access.add_key")}
    </Button>
  );
  return (
    <Panel flush title={t("access.keys")} note={t("access.keys_note")} actions={keys.data?.length ? add : undefined}>
      <Load query={keys}>
        {(items) => (
          <DataTable
            label={t("access.keys")}
            rows={items}
            rowKey={(key) => key.id}
            columns={[
              { key: "name", header: t("col.name"), grow: true, cell: (key) => key.name },
              { key: "id", header: t("access.key_id"), cell: (key) => <span className="mono">{key.id}</span> },
              { key: "role", header: t("access.role"), cell: (key) => t(`access.role.${key.role}`) },
              { key: "expires", header: t("access.expires"), numeric: true, cell: (key) => <When at={key.expires_at} empty={t("access.never")} /> },
              { key: "used", header: t("access.last_used"), numeric: true, cell: (key) => <When at={key.last_used_at} /> },
              {
                key: "remove",
                header: "",
                numeric: true,
                cell: (key) => (
                  <RemoveButton
                    title={t("access.delete_key", { name: key.name })}
                    text={t("access.delete_key_text")}
                    run={() => commands.deleteKey(key.id).then(refresh)}
                  />
                ),
              },
            ]}
            empty={<EmptyState title={t("access.no_keys")} text={t("access.no_keys_hint")} action={add} />}
          />
        )}
      </Load>
      {opened && <NewKey onClose={modal.close} onDone={refresh} />}
    </Panel>
  );
}

function NewKey({ onClose, onDone }: { onClose: () => void; onDone: () => Promise<void> }) {
  const t = useT();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [lifetime, setLifetime] = useState<string>("90d");
  const create = useMutation({
    mutationFn: () => commands.createKey({ name, role, ...(lifetime ? { expires_in: lifetime } : {}) }),
    onSuccess: onDone,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    create.mutate();
  };
  return (
    <Modal
      opened
      onClose={onClose}
      title={t("access.add_key")}
      closeOnClickOutside={!create.data}
      closeButtonProps={{ "aria-label": t("common.close") }}
    >
      {create.data ? (
        <Stack gap="sm">
          <Note tone="warn" message={t("access.key_once")} hint={t("access.key_once_hint")} />
          <CodeBlock code={create.data.key} label={t("access.new_key")} />
          <CodeBlock code={`curl -H "Authorization: Bearer ${create.data.key}" \\\n  ${window.location.origin}/api/v1/overview`} />
          <Group justify="flex-end">
            <Button onClick={onClose}>{t("access.key_kept")}</Button>
          </Group>
        </Stack>
      ) : (
        <form onSubmit={submit}>
          <Stack gap="sm">
            <TextInput label={t("col.name")} description={t("access.key_name_hint")} required value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
            <RoleSelect value={role} onChange={setRole} />
            <NativeSelect
              label={t("access.lifetime")}
              value={lifetime}
              onChange={(event) => setLifetime(event.currentTarget.value)}
              data={LIFETIMES.map((value) => ({
                value,
                label: value ? t("access.days", { count: Number.parseInt(value, 10) }) : t("access.never"),
              }))}
            />
            {create.error && <ErrorNote error={create.error} />}
            <Group justify="flex-end">
              <Button type="submit" loading={create.isPending}>
                {t("access.add_key")}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}
