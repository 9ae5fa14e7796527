import { Button } from "@mantine/core";
import { IconArrowsMinimize } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { commands } from "~/api/queries";
import { useMay } from "~/components/may";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";

/** Rewrites many small files as few large ones. */
export function CompactButton({ namespace, table }: { namespace: string; table: string }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const compact = useMutation({
    mutationFn: () => commands.compact(namespace, table),
    onSuccess: (done) => toast(t("table.compacted", { before: done.files_before, after: done.files_after })),
    onError: (error) => toast(error.message, true),
    onSettled: () => client.invalidateQueries({ queryKey: ["lakehouse"] }),
  });
  return (
    <Button
      variant="default"
      leftSection={<IconArrowsMinimize size={15} />}
      loading={compact.isPending}
      disabled={!may.edit}
      title={t("table.compact_hint")}
      onClick={() => compact.mutate()}
    >
      {t("table.compact")}
    </Button>
  );
}
