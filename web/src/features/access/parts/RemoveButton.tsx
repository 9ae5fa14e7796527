import { ActionIcon } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconTrash } from "@tabler/icons-react";
import { Confirm } from "~/components/Confirm";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";

interface Props {
  title: string;
  text: string;
  run: () => Promise<unknown>;
}

/** Deletes after asking. */
export function RemoveButton({ title, text, run }: Props) {
  const t = useT();
  const may = useMay();
  const [opened, modal] = useDisclosure();
  return (
    <>
      <ActionIcon variant="subtle" color="gray" aria-label={title} title={title} disabled={!may.admin} onClick={modal.open}>
        <IconTrash size={16} />
      </ActionIcon>
      <Confirm opened={opened} onClose={modal.close} title={title} text={text} verb={t("common.delete")} danger run={run} />
    </>
  );
}
