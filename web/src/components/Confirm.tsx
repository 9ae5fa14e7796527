import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useT } from "~/i18n";
import { ErrorNote } from "./ErrorNote";

interface Props {
  opened: boolean;
  onClose: () => void;
  title: string;
  text: ReactNode;
  /** The verb on the button. */
  verb: string;
  danger?: boolean;
  run: () => Promise<unknown>;
}

/** Asks before something that cannot be taken back. Stays open and says why if it failed. */
export function Confirm({ opened, onClose, title, text, verb, danger, run }: Props) {
  const t = useT();
  const work = useMutation({ mutationFn: run, onSuccess: onClose });
  return (
    <Modal opened={opened} onClose={onClose} title={title} closeButtonProps={{ "aria-label": t("common.close") }}>
      <Stack gap="md">
        <Text size="sm" component="div">
          {text}
        </Text>
        {work.error && <ErrorNote error={work.error} />}
        <Group justify="flex-end" gap={8}>
          <Button variant="default" onClick={onClose}>
            {t("common.cancel")}
          </Button>
          <Button color={danger ? "red.8" : "tarn"} loading={work.isPending} onClick={() => work.mutate()} data-autofocus>
            {verb}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
