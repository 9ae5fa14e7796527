import { Button, Group, Modal, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { commands, queries } from "~/api/queries";
import type { Role } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { RemoveButton } from "./RemoveButton";
import { RoleSelect } from "./RoleSelect";

export function Users() {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const users = useQuery(queries.users);
  const [opened, modal] = useDisclosure();
  const refresh = () => client.invalidateQueries({ queryKey: ["users"] });
  const add = (
    <Button leftSection={<IconPlus size={15} />} disabled={!may.admin} onClick={modal.open}>
      {t("access.add_user")}
    </Button>
  );
  return (
    <Panel flush title={t("access.users")} actions={users.data?.length ? add : undefined}>
      <Load query={users}>
        {(items) => (
          <DataTable
            label={t("access.users")}
            rows={items}
            rowKey={(user) => user.name}
            columns={[
              { key: "name", header: t("col.name"), grow: true, cell: (user) => user.name },
              { key: "role", header: t("access.role"), cell: (user) => t(`access.role.${user.role}`) },
              { key: "created", header: t("access.created"), numeric: true, cell: (user) => <When at={user.created_at} /> },
              { key: "seen", header: t("access.last_seen"), numeric: true, cell: (user) => <When at={user.last_seen_at} /> },
              {
                key: "remove",
                header: "",
                numeric: true,
                cell: (user) => (
                  <RemoveButton
                    title={t("access.delete_user", { name: user.name })}
                    text={t("access.delete_user_text")}
                    run={() => commands.deleteUser(user.name).then(refresh)}
                  />
                ),
              },
            ]}
            empty={<EmptyState title={t("access.no_users")} text={t("access.no_users_hint")} action={add} />}
          />
        )}
      </Load>
      {opened && <NewUser onClose={modal.close} onDone={refresh} />}
    </Panel>
  );
}

function NewUser({ onClose, onDone }: { onClose: () => void; onDone: () => Promise<void> }) {
  const t = useT();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [password, setPassword] = useState("");
  const create = useMutation({
    mutationFn: () => commands.createUser({ name, role, password }),
    onSuccess: async () => {
      await onDone();
      onClose();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    create.mutate();
  };
  return (
    <Modal opened onClose={onClose} title={t("access.add_user")} closeButtonProps={{ "aria-label": t("common.close") }}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          <TextInput label={t("col.name")} required autoComplete="off" value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
          <RoleSelect value={role} onChange={setRole} />
          <PasswordInput
            label={t("login.password")}
            description={t("access.password_hint")}
            required
            minLength={8}
            autoComplete="new-password"
            value={password}
            onChange={(e) => setPassword(e.currentTarget.value)}
            visibilityToggleButtonProps={{ "aria-label": t("form.show_value") }}
          />
          {create.error && <ErrorNote error={create.error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={create.isPending}>
              {t("access.add_user")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
