import { UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconGitBranch, IconGitMerge, IconTag, IconX } from "@tabler/icons-react";
import { asOf } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useT } from "~/i18n";
import { between } from "./lineage";
import { DropRefDialog, PublishDialog } from "./RefCommands";
import type { Ref } from "./refs";
import classes from "./Snapshots.module.css";

/** A tag or branch on its snapshot: opens it in SQL by its name, or is taken away. */
export function RefBadge({ table, reference }: { table: TableDetail; reference: Ref }) {
  const t = useT();
  const may = useMay();
  const [asking, modal] = useDisclosure();
  const [publish, publishing] = useDisclosure();
  // What the branch has and the table has not, if the table did not go on by itself since.
  const ahead = reference.kind === "branch" && table.snapshot_id ? between(table.snapshot_list, table.snapshot_id, reference.snapshot_id) : undefined;
  const Icon = reference.kind === "tag" ? IconTag : IconGitBranch;
  const title = t(`snapshot.drop_${reference.kind}`, { name: reference.name });
  return (
    <span className={classes.ref} data-kind={reference.kind}>
      <Icon size={13} aria-label={t(`snapshot.${reference.kind}`)} />
      <TextLink quiet href={paths.sql({ q: `SELECT *\nFROM ${asOf(table, reference.name)}\nLIMIT 100`, run: "1" })}>
        <span lang="en">{reference.name}</span>
      </TextLink>
      {may.edit && ahead !== undefined && ahead.length > 0 && (
        <UnstyledButton className={classes.refDrop} aria-label={t("snapshot.publish", { name: reference.name })} title={t("snapshot.publish", { name: reference.name })} onClick={publishing.open}>
          <IconGitMerge size={13} />
        </UnstyledButton>
      )}
      {may.edit && (
        <UnstyledButton className={classes.refDrop} aria-label={title} title={title} onClick={modal.open}>
          <IconX size={12} />
        </UnstyledButton>
      )}
      <PublishDialog table={table} reference={reference} ahead={ahead ?? []} opened={publish} onClose={publishing.close} />
      <DropRefDialog table={table} reference={reference} opened={asking} onClose={modal.close} />
    </span>
  );
}
