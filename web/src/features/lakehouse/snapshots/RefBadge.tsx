import { UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconGitBranch, IconGitMerge, IconTag, IconX } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { publishSql, tableCommands } from "~/api/lakehouse";
import { asOf } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { Confirm } from "~/components/Confirm";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { between, sumOf } from "./lineage";
import type { Ref } from "./refs";
import classes from "./Snapshots.module.css";

/** A tag or branch on its snapshot: opens it in SQL by its name, or is taken away. */
export function RefBadge({ table, reference }: { table: TableDetail; reference: Ref }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
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
      <Confirm
        opened={publish}
        onClose={publishing.close}
        title={t("snapshot.publish", { name: reference.name })}
        text={
          <>
            {t("snapshot.publish_text", { name: table.name, count: ahead?.length ?? 0, added: sumOf(ahead ?? []).added_rows, deleted: sumOf(ahead ?? []).deleted_rows })}
            <CodeBlock code={publishSql(table, reference.name)} label="SQL" />
          </>
        }
        verb={t("snapshot.publish_verb")}
        run={() => tableCommands.publish(table, reference.name).then(() => client.invalidateQueries({ queryKey: ["lakehouse"] }))}
      />
      <Confirm
        opened={asking}
        onClose={modal.close}
        title={title}
        text={t("snapshot.drop_ref_text")}
        verb={t("common.delete")}
        danger
        run={() => tableCommands.dropRef(table, reference.kind, reference.name).then(() => client.invalidateQueries({ queryKey: ["lakehouse"] }))}
      />
    </span>
  );
}
