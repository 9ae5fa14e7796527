import { Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { createRefSql, tableCommands } from "~/api/lakehouse";
import type { Snapshot, TableDetail } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { toast } from "~/components/toasts";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { type Ref, refFault } from "./refs";

interface Props {
  table: TableDetail;
  snapshot: Snapshot;
  kind: "tag" | "branch";
  refs: Ref[];
  onClose: () => void;
}

/** Gives a snapshot a name, so that it stays. */
export function RefDialog({ table, snapshot, kind, refs, onClose }: Props) {
  const t = useT();
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [tried, setTried] = useState(false);
  const fault = refFault(name, refs);
  const create = useMutation({
    mutationFn: () => tableCommands.createRef(table, kind, name.trim(), snapshot.id),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["lakehouse"] });
      toast(t(`snapshot.created_${kind}`, { name: name.trim() }));
      onClose();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (!fault) create.mutate();
  };
  return (
    <Modal opened onClose={onClose} title={t(`snapshot.create_${kind}`)} closeButtonProps={{ "aria-label": t("common.close") }}>
      <form onSubmit={submit} noValidate>
        <Stack gap="md">
          <div>
            {t(`snapshot.${kind}_text`)} <span className="dim"><span className="mono">{snapshot.id}</span>, <When at={snapshot.at} /></span>
          </div>
          <TextInput
            label={t("col.name")}
            placeholder={kind === "tag" ? "before-migration" : "audit"}
            data-autofocus
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={tried || fault !== "empty" ? fault && t(`snapshot.name.${fault}`) : undefined}
          />
          {name.trim() !== "" && !fault && <CodeBlock code={createRefSql(table, kind, name.trim(), snapshot.id)} label="SQL" />}
          {create.error && <ErrorNote error={create.error} />}
          <Group justify="flex-end" gap={8}>
            <Button variant="default" onClick={onClose}>
              {t("common.cancel")}
            </Button>
            <Button type="submit" loading={create.isPending}>
              {t("common.create")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
