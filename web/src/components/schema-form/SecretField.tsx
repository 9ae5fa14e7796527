import { Button, Group, Modal, NativeSelect, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { commands, queries } from "~/api/queries";
import type { Json } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";
import { useFieldProps } from "./FieldInput";
import type { InputProps } from "./SchemaForm";

/** The name in `{secret: name}`. */
export function secretName(value: Json | undefined): string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "";
  return typeof value.secret === "string" ? value.secret : "";
}

/** A reference to a secret: choose one that exists, or store a new one. The value never enters the document. */
export function SecretField(props: InputProps) {
  const { path, value, onChange } = props;
  const t = useT();
  const may = useMay();
  const words = useFieldProps(props);
  const { data: secrets = [] } = useQuery(queries.secrets);
  const [opened, modal] = useDisclosure();
  const name = secretName(value);
  const names = [...new Set([...secrets.map((secret) => secret.name), ...(name ? [name] : [])])];
  return (
    <>
      <NativeSelect
        {...words}
        value={name}
        onChange={(event) => onChange(event.currentTarget.value ? { secret: event.currentTarget.value } : undefined)}
        data={[{ value: "", label: t("form.secret_choose") }, ...names.map((one) => ({ value: one, label: one }))]}
        inputContainer={(input) => (
          <Group gap={8} wrap="nowrap" align="flex-end">
            <div style={{ flex: 1, minWidth: 0 }}>{input}</div>
            <Button variant="default" size="sm" mb="var(--input-margin-bottom, 0)" onClick={modal.open} disabled={!may.admin}>
              {t("form.secret_new")}
            </Button>
          </Group>
        )}
      />
      {opened && (
        <NewSecret
          suggested={path.split(".").at(-1) ?? ""}
          onClose={modal.close}
          onCreated={(created) => {
            onChange({ secret: created });
            modal.close();
          }}
        />
      )}
    </>
  );
}

interface NewSecretProps {
  suggested: string;
  onClose: () => void;
  onCreated: (name: string) => void;
}

export function NewSecret({ suggested, onClose, onCreated }: NewSecretProps) {
  const t = useT();
  const client = useQueryClient();
  const [name, setName] = useState(suggested);
  const [secret, setSecret] = useState("");
  const save = useMutation({
    mutationFn: () => commands.putSecret(name, secret),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["secrets"] });
      onCreated(name);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    save.mutate();
  };
  return (
    <Modal opened onClose={onClose} title={t("form.secret_new")} closeButtonProps={{ "aria-label": t("common.close") }}>
      <form onSubmit={submit}>
        <Stack gap="sm">
          <TextInput
            label={t("form.secret_name")}
            required
            pattern="[A-Za-z0-9_\-]+"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <PasswordInput
            label={t("form.secret_value")}
            description={t("form.secret_value_hint")}
            required
            autoComplete="new-password"
            value={secret}
            onChange={(event) => setSecret(event.currentTarget.value)}
            visibilityToggleButtonProps={{ "aria-label": t("form.show_value") }}
          />
          {save.error && <ErrorNote error={save.error} />}
          <Group justify="flex-end">
            <Button type="submit" loading={save.isPending}>
              {t("form.secret_save")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
