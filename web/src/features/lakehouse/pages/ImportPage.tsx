import { Stepper } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { importCommands, type ImportPlan, importQueries } from "~/api/imports";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { draftOf, type ImportDraft, requestOf } from "../import/draft";
import { abilitiesOf } from "../import/formats";
import { ImportList } from "../import/ImportList";
import { PlanStep } from "../import/PlanStep";
import { RunStep } from "../import/RunStep";
import { SourceStep } from "../import/SourceStep";

/** Brings files into a table: where they are, what was found in them, and how it went. A run is in the address. */
export default function ImportPage() {
  const t = useT();
  const [view, setView] = useView();
  const client = useQueryClient();
  const { data: api } = useQuery(importQueries.abilities);
  const abilities = useMemo(() => abilitiesOf(api), [api]);
  const [draft, setDraft] = useState<ImportDraft>(() => draftOf(view));
  const [planned, setPlanned] = useState<ImportPlan | null>(null);
  const plan = useMutation({
    mutationFn: (next: ImportDraft) => importCommands.plan(requestOf(next, planned?.format)),
    onSuccess: (found) => {
      setPlanned(found);
      setView({ step: "plan" }, { push: view.step !== "plan" });
    },
  });
  const start = useMutation({
    mutationFn: () => importCommands.start(requestOf(draft, planned?.format)),
    onSuccess: (made) => {
      void client.invalidateQueries({ queryKey: ["imports", "list"] });
      setView({ id: made.id, step: undefined, into: undefined, path: undefined, mode: undefined }, { push: true });
    },
  });
  // A reload loses what was entered; then there is nothing to look at.
  const step = view.id ? 2 : view.step === "plan" && planned ? 1 : 0;
  return (
    <>
      <PageHeader title={t("import.title")} parent={{ label: t("nav.tables"), href: paths.tables() }} lead={t("import.lead")} />
      <Stepper active={step} size="sm" mb="lg" allowNextStepsSelect={false} onStepClick={(clicked) => {
        if (clicked === 0) setView({ id: undefined, step: undefined }, { push: true });
        if (clicked === 1 && planned) setView({ id: undefined, step: "plan" }, { push: true });
      }}>
        <Stepper.Step label={t("import.step.source")} />
        <Stepper.Step label={t("import.step.plan")} />
        <Stepper.Step label={t("import.step.run")} />
      </Stepper>
      {step === 0 && (
        <>
          <SourceStep draft={draft} abilities={abilities} onChange={setDraft} onNext={() => plan.mutate(draft)} looking={plan.isPending} error={plan.error} />
          <ImportList />
        </>
      )}
      {step === 1 && planned && (
        <PlanStep
          plan={planned}
          draft={draft}
          abilities={abilities}
          onChange={setDraft}
          onAgain={(next = draft) => {
            setDraft(next);
            plan.mutate(next);
          }}
          looking={plan.isPending}
          onStart={() => start.mutate()}
          starting={start.isPending}
          error={plan.error ?? start.error}
        />
      )}
      {view.id && (
        <RunStep
          key={view.id}
          id={view.id}
          onChange={(one) => {
            // What was entered is still there unless the page was loaded anew.
            const entered = planned !== null && draft.path.trim() === one.path;
            if (!entered) setDraft(draftOf(one));
            setView({ id: undefined, step: entered ? "plan" : undefined }, { push: true });
          }}
        />
      )}
    </>
  );
}
