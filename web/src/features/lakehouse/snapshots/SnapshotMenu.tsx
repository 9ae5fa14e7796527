import { ActionIcon, Menu } from "@mantine/core";
import { IconCopyPlus, IconDots, IconGitBranch, IconHistory, IconTag } from "@tabler/icons-react";
import { useState } from "react";
import { asOf, ident } from "~/api/sql";
import type { Snapshot, TableDetail } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { useT } from "~/i18n";
import { RefDialog } from "./RefDialog";
import type { Ref } from "./refs";
import { RestoreDialog } from "./RestoreDialog";

interface Props {
  table: TableDetail;
  snapshot: Snapshot;
  refs: Ref[];
  isPast: boolean;
}

/** What can be done with a snapshot. What cannot be done says why. */
export function SnapshotMenu({ table, snapshot, refs, isPast }: Props) {
  const t = useT();
  const may = useMay();
  const [asking, setAsking] = useState<"tag" | "branch" | "restore" | null>(null);
  const close = () => setAsking(null);
  const current = snapshot.id === table.snapshot_id;
  const why = !may.edit ? t("common.not_allowed") : current ? t("snapshot.is_current") : table.topic ? t("snapshot.is_fed") : isPast ? undefined : t("snapshot.left_hint");
  const copy = `CREATE TABLE ${ident(table.namespace)}.${ident(`${table.table}_copy`)} AS\nSELECT *\nFROM ${asOf(table, snapshot.id)}`;
  return (
    <>
      <Menu position="bottom-end" withArrow width={280}>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t("snapshot.more", { id: snapshot.id })}>
            <IconDots size={16} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconTag size={15} />} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} onClick={() => setAsking("tag")}>
            {t("snapshot.create_tag")}
          </Menu.Item>
          <Menu.Item leftSection={<IconGitBranch size={15} />} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} onClick={() => setAsking("branch")}>
            {t("snapshot.create_branch")}
          </Menu.Item>
          <Menu.Item leftSection={<IconCopyPlus size={15} />} component={AppLink} href={paths.sql({ q: copy })}>
            {t("snapshot.copy")}
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item leftSection={<IconHistory size={15} />} color={why ? undefined : "var(--bad)"} disabled={why !== undefined} onClick={() => setAsking("restore")}>
            {t("snapshot.restore")}
            {why && <div style={{ fontSize: "0.75rem", whiteSpace: "normal" }}>{why}</div>}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {(asking === "tag" || asking === "branch") && <RefDialog table={table} snapshot={snapshot} kind={asking} refs={refs} onClose={close} />}
      <RestoreDialog table={table} snapshot={snapshot} refs={refs} opened={asking === "restore"} onClose={close} />
    </>
  );
}
