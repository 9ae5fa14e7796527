import { Button, Group, Tooltip } from "@mantine/core";
import { IconPlayerPause, IconPlayerPlay, IconRefresh } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { commands } from "~/api/queries";
import type { SourceSummary } from "~/api/types";
import { useMay } from "~/components/may";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";

const ICONS = { restart: IconRefresh, pause: IconPlayerPause, resume: IconPlayerPlay };

/** Restart, pause, resume: those that make sense in the source's state. */
export function SourceCommands({ source, only, without }: { source: SourceSummary; only?: "restart"; without?: "restart" }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const work = useMutation({
    mutationFn: (verb: "restart" | "pause" | "resume") => commands.source(source.name, verb),
    onSuccess: (_, verb) => toast(t(`source.did.${verb}`, { name: source.name })),
    onError: (error) => toast(error.message, true),
    onSettled: () => client.invalidateQueries({ queryKey: ["ingest"] }),
  });
  const verbs: ("restart" | "pause" | "resume")[] = only
    ? [only]
    : source.state === "paused"
      ? ["resume"]
      : ["restart", ...(source.state === "done" ? [] : (["pause"] as const))];
  return (
    <Tooltip label={t("common.not_allowed")} disabled={may.edit}>
      <Group gap={8}>
        {verbs.map((verb) => {
          if (verb === without) return null;
          const Icon = ICONS[verb];
          return (
            <Button
              key={verb}
              variant="default"
              leftSection={<Icon size={15} />}
              loading={work.isPending && work.variables === verb}
              disabled={!may.edit}
              onClick={() => work.mutate(verb)}
            >
              {t(`source.do.${verb}`)}
            </Button>
          );
        })}
      </Group>
    </Tooltip>
  );
}
