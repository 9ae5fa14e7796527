import { Stack } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { rollbackSql, tableCommands } from "~/api/lakehouse";
import type { Snapshot, TableDetail } from "~/api/types";
import { Confirm } from "~/components/Confirm";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { CodeBlock } from "~/ui/CodeBlock";
import { figuresOf } from "./figures";
import { between, sumOf } from "./lineage";
import type { Ref } from "./refs";

interface Props {
  table: TableDetail;
  snapshot: Snapshot;
  refs: Ref[];
  opened: boolean;
  onClose: () => void;
}

/** Asks before a table goes back, and says what it loses. */
export function RestoreDialog({ table, snapshot, refs, opened, onClose }: Props) {
  const t = useT();
  const format = useFormat();
  const client = useQueryClient();
  const lost = (table.snapshot_id && between(table.snapshot_list, snapshot.id, table.snapshot_id)) || [];
  const sum = sumOf(lost);
  const named = lost.some(({ id }) => refs.some((ref) => ref.snapshot_id === id));
  return (
    <Confirm
      opened={opened}
      onClose={onClose}
      title={t("snapshot.restore_title", { name: table.name })}
      verb={t("snapshot.restore_verb", { count: lost.length })}
      danger
      run={async () => {
        await tableCommands.rollback(table, snapshot.id);
        await client.invalidateQueries({ queryKey: ["lakehouse"] });
        toast(t("snapshot.restored", { name: table.name }));
      }}
      text={
        <Stack gap="sm">
          <div>{t("snapshot.restore_to", { at: format.date(snapshot.at), rows: format.count(figuresOf(snapshot).live_rows), now: format.count(table.rows) })}</div>
          <ul style={{ margin: 0, paddingLeft: 20 }}>
            <li>{t("snapshot.lost_commits", { count: lost.length })}</li>
            <li>{t("snapshot.lost_added", { count: sum.added_rows })}</li>
            <li>{t("snapshot.lost_deleted", { count: sum.deleted_rows })}</li>
            <li>{t("snapshot.lost_schema")}</li>
          </ul>
          <div className="dim">{t(named ? "snapshot.lost_kept_named" : "snapshot.lost_kept")}</div>
          <CodeBlock code={rollbackSql(table, snapshot.id)} label="SQL" />
        </Stack>
      }
    />
  );
}
