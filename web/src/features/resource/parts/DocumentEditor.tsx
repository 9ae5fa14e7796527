import { Button, Group, Skeleton, Stack, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { lazy, Suspense, useMemo, useState } from "react";
import { ApiError } from "~/api/client";
import { commands } from "~/api/queries";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { PlanView } from "~/components/PlanView";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import classes from "./DocumentEditor.module.css";

const YamlEditor = lazy(() => import("./YamlEditor"));

/** A document beside what applying it would change. */
export function DocumentEditor({ initial }: { initial: string }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const router = useRouter();
  const [documents, setDocuments] = useState(initial);
  const [message, setMessage] = useState("");
  const plan = useMutation({ mutationFn: () => commands.plan({ documents }) });
  const apply = useMutation({
    mutationFn: () =>
      commands.apply({
        documents,
        ...(message ? { message } : {}),
        ...(plan.data ? { base_revision: plan.data.base_revision } : {}),
      }),
    onSuccess: async (done) => {
      toast(t("resource.applied", { number: done.revision }));
      await client.invalidateQueries();
      const first = done.changes.find((change) => change.action !== "delete");
      router.history.push(first ? paths.resource(first.kind, first.name) : paths.resources());
    },
  });
  // A plan speaks of the text it was made of; a changed text needs a new one.
  const change = (text: string) => {
    setDocuments(text);
    plan.reset();
    apply.reset();
  };
  const marks = useMemo(() => {
    const problems = [...(plan.data?.problems ?? []), ...(plan.data?.changes.flatMap((one) => one.problems ?? []) ?? [])];
    const found = problems.flatMap((problem) => (problem.line ? [{ line: problem.line, column: problem.column ?? 1, message: problem.message }] : []));
    if (plan.error instanceof ApiError && plan.error.position) found.push({ ...plan.error.position, message: plan.error.message });
    return found;
  }, [plan.data, plan.error]);

  return (
    <div className={classes.two}>
      <Panel
        flush
        title={t("source.document")}
        actions={
          <Button variant="light" loading={plan.isPending} onClick={() => plan.mutate()}>
            {t("resource.show_plan")}
          </Button>
        }
      >
        <Suspense fallback={<Skeleton height={260} m="md" />}>
          <YamlEditor
            label={t("source.document")}
            value={documents}
            onChange={change}
            onRun={() => plan.mutate()}
            marks={marks}
            minHeight="320px"
            maxHeight="66vh"
            readOnly={!may.edit}
          />
        </Suspense>
      </Panel>
      <Panel title={t("resource.plan")}>
        <Stack gap="md">
          {!plan.data && !plan.error && <span className="dim">{t("resource.plan_hint")}</span>}
          {plan.error && <ErrorNote error={plan.error} />}
          {plan.data && <PlanView plan={plan.data} />}
          {plan.data?.ok && plan.data.changes.some((one) => one.action !== "none") && (
            <>
              <TextInput
                label={t("resource.message")}
                placeholder={t("resource.message_hint")}
                value={message}
                onChange={(event) => setMessage(event.currentTarget.value)}
              />
              {apply.error && <ErrorNote error={apply.error} />}
              <Group justify="flex-end">
                <Button size="sm" loading={apply.isPending} disabled={!may.edit} onClick={() => apply.mutate()}>
                  {t("source.apply")}
                </Button>
              </Group>
            </>
          )}
        </Stack>
      </Panel>
    </div>
  );
}
