import { Button, Group, Stack } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { commands } from "~/api/queries";
import type { SourceType } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { PlanView } from "~/components/PlanView";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { Panel } from "~/ui/Panel";
import type { Draft } from "../pages/SourceFormPage";
import { sourceDocument } from "./document";
import classes from "./Forms.module.css";

/** The document that will be stored and what it changes, before it is applied. */
export function ReviewStep({ type, draft, onBack }: { type: SourceType; draft: Draft; onBack: () => void }) {
  const t = useT();
  const may = useMay();
  const router = useRouter();
  const client = useQueryClient();
  const documents = sourceDocument(draft.name, type.name, draft.config);
  const plan = useQuery({ queryKey: ["plan", documents], queryFn: () => commands.plan({ documents }), staleTime: 0 });
  const apply = useMutation({
    mutationFn: () =>
      commands.apply({ documents, message: t("source.apply_message", { name: draft.name }), ...(plan.data ? { base_revision: plan.data.base_revision } : {}) }),
    onSuccess: async () => {
      toast(t("source.applied", { name: draft.name }));
      await client.invalidateQueries();
      router.history.push(paths.source(draft.name));
    },
  });
  return (
    <div className={classes.two}>
      <Panel title={t("resource.plan")}>
        <Load query={plan}>{(data) => <PlanView plan={data} />}</Load>
      </Panel>
      <div className={classes.sticky}>
        <Panel title={t("source.document")} note={`resources/${draft.name}.yaml`}>
          <CodeBlock code={documents} label={t("source.document")} />
        </Panel>
        <Stack gap="sm">
          {apply.error && <ErrorNote error={apply.error} />}
          <Group justify="flex-end">
            <Button variant="default" size="sm" onClick={onBack}>
              {t("common.back")}
            </Button>
            <Button size="sm" loading={apply.isPending} disabled={!plan.data?.ok || !may.edit} onClick={() => apply.mutate()}>
              {t("source.apply")}
            </Button>
          </Group>
        </Stack>
      </div>
    </div>
  );
}
