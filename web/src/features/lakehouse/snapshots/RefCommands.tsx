import { Stack } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { dropRefSql, publishSql, tableCommands } from "~/api/lakehouse";
import type { Snapshot, TableDetail } from "~/api/types";
import { Confirm } from "~/components/Confirm";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { CodeBlock } from "~/ui/CodeBlock";
import { sumOf } from "./lineage";
import type { Ref } from "./refs";

interface Props {
  table: TableDetail;
  reference: Ref;
  opened: boolean;
  onClose: () => void;
}

/** Asks before a table takes over what a branch has. */
export function PublishDialog({ table, reference, ahead, opened, onClose }: Props & { ahead: Snapshot[] }) {
  const t = useT();
  const format = useFormat();
  const client = useQueryClient();
  const sum = sumOf(ahead);
  return (
    <Confirm
      opened={opened}
      onClose={onClose}
      title={t("snapshot.publish", { name: reference.name })}
      text={
        <Stack gap="sm">
          {t("snapshot.publish_text", { name: table.name, count: ahead.length, added: format.count(sum.added_rows), deleted: format.count(sum.deleted_rows) })}
          <CodeBlock code={publishSql(table, reference.name)} label="SQL" />
        </Stack>
      }
      verb={t("snapshot.publish_verb")}
      run={async () => {
        await tableCommands.publish(table, reference.name);
        await client.invalidateQueries({ queryKey: ["lakehouse"] });
        toast(t("snapshot.published", { branch: reference.name, name: table.name }));
      }}
    />
  );
}

/** Asks before a name is taken from a snapshot. */
export function DropRefDialog({ table, reference, opened, onClose }: Props) {
  const t = useT();
  const client = useQueryClient();
  return (
    <Confirm
      opened={opened}
      onClose={onClose}
      title={t(`snapshot.drop_${reference.kind}`, { name: reference.name })}
      text={
        <Stack gap="sm">
          {t("snapshot.drop_ref_text")}
          <CodeBlock code={dropRefSql(table, reference.kind, reference.name)} label="SQL" />
        </Stack>
      }
      verb={t("common.delete")}
      danger
      run={async () => {
        await tableCommands.dropRef(table, reference.kind, reference.name);
        await client.invalidateQueries({ queryKey: ["lakehouse"] });
      }}
    />
  );
}
