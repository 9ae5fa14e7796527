import { Button, Stack } from "@mantine/core";
import { IconHistory } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { useState } from "react";
import { commands, queries } from "~/api/queries";
import { Confirm } from "~/components/Confirm";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { ChangeView } from "~/components/PlanView";
import { usePrincipal } from "~/components/principal";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";

/** One revision: who changed what, and the way back to it. */
export default function RevisionPage() {
  const t = useT();
  const who = usePrincipal();
  const format = useFormat();
  const may = useMay();
  const client = useQueryClient();
  const { revision: number } = useParams({ strict: false }) as { revision: string };
  const revision = useQuery(queries.revision(number));
  const [asking, setAsking] = useState(false);
  const parent = { label: t("resource.revisions"), href: paths.resources({ tab: "revisions" }) };
  const rollback = async () => {
    const done = await commands.rollback(Number(number));
    toast(t("resource.rolled_back", { number: Number(number), revision: done.revision }));
    await client.invalidateQueries();
  };
  return (
    <>
      <PageHeader
        title={t("resource.revision_number", { number })}
        parent={parent}
        lead={revision.data && `${who(revision.data.author)} · ${format.date(revision.data.at)}${revision.data.message ? ` · ${revision.data.message}` : ""}`}
        actions={
          <Button variant="default" leftSection={<IconHistory size={15} />} disabled={!may.edit || !revision.data} onClick={() => setAsking(true)}>
            {t("resource.rollback")}
          </Button>
        }
      />
      <Load query={revision} place={parent}>
        {(data) => (
          <Stack gap="md">
            {data.changes.length === 0 && <EmptyState title={t("change.nothing")} />}
            {data.changes.map((change) => (
              <Panel key={`${change.kind}/${change.name}`}>
                <ChangeView change={change} />
              </Panel>
            ))}
          </Stack>
        )}
      </Load>
      <Confirm
        opened={asking}
        onClose={() => setAsking(false)}
        title={t("resource.rollback")}
        text={t("resource.rollback_text", { number })}
        verb={t("resource.rollback")}
        danger
        run={rollback}
      />
    </>
  );
}
