import { Button } from "@mantine/core";
import { IconGitCommit } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { commands } from "~/api/queries";
import type { TableDetail } from "~/api/types";
import { useMay } from "~/components/may";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { isCommitted, isCommittedTo } from "./committed";

interface Props {
  namespace: string;
  table: string;
  /** Undefined until it is read. */
  detail: TableDetail | undefined;
}

/** Commits what is in memory, so that other engines see what SQL sees. */
export function FlushButton({ namespace, table, detail }: Props) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const flush = useMutation({
    mutationFn: () => commands.flush(namespace, table),
    onMutate: () => detail?.applied_offset ?? null,
    // The server answers after a while even when the commit goes on or fails; the table then says why.
    onSuccess: (after, _none, asked_offset) =>
      isCommittedTo(after, asked_offset) ? toast(t("table.flushed")) : toast(t("table.flush_unfinished"), true),
    onError: (error) => toast(error.message, true),
    onSettled: () => client.invalidateQueries({ queryKey: ["lakehouse"] }),
  });
  const nothing = detail === undefined || isCommitted(detail);
  return (
    <Button
      variant="default"
      leftSection={<IconGitCommit size={15} />}
      loading={flush.isPending}
      disabled={!may.edit || nothing}
      title={t(detail && nothing ? "table.flush_nothing" : "table.flush_hint")}
      onClick={() => flush.mutate()}
    >
      {t("table.flush")}
    </Button>
  );
}
