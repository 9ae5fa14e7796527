import { UnstyledButton } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconGitBranch, IconTag, IconX } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { tableCommands } from "~/api/lakehouse";
import { asOf } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { Confirm } from "~/components/Confirm";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useT } from "~/i18n";
import type { Ref } from "./refs";
import classes from "./Snapshots.module.css";

/** A tag or branch on its snapshot: opens it in SQL by its name, or is taken away. */
export function RefBadge({ table, reference }: { table: TableDetail; reference: Ref }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const [asking, modal] = useDisclosure();
  const Icon = reference.kind === "tag" ? IconTag : IconGitBranch;
  const title = t(`snapshot.drop_${reference.kind}`, { name: reference.name });
  return (
    <span className={classes.ref} data-kind={reference.kind}>
      <Icon size={13} aria-label={t(`snapshot.${reference.kind}`)} />
      <TextLink quiet href={paths.sql({ q: `SELECT *\nFROM ${asOf(table, reference.name)}\nLIMIT 100`, run: "1" })}>
        <span lang="en">{reference.name}</span>
      </TextLink>
      {may.edit && (
        <UnstyledButton className={classes.refDrop} aria-label={title} title={title} onClick={modal.open}>
          <IconX size={12} />
        </UnstyledButton>
      )}
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
