import { Stepper } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { queries } from "~/api/queries";
import type { Json, SourceType } from "~/api/types";
import { Load } from "~/components/Load";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { ConfigStep } from "../forms/ConfigStep";
import { configOf } from "../forms/document";
import { ReviewStep } from "../forms/ReviewStep";
import formClasses from "../forms/Forms.module.css";
import { TypeStep } from "../forms/TypeStep";

export interface Draft {
  name: string;
  config: Record<string, Json>;
}

/** Adds a source in three steps, or changes one (`?edit=name`). */
export default function SourceFormPage() {
  const t = useT();
  const [view] = useView();
  const types = useQuery(queries.sourceTypes);
  const title = view.edit ? t("source.edit_title", { name: view.edit }) : t("source.add");
  return (
    <>
      <PageHeader title={title} parent={{ label: t("nav.sources"), href: paths.sources() }} lead={t("source.form_lead")} />
      <Load query={types}>{(items) => (view.edit ? <EditSource name={view.edit} types={items} /> : <Steps types={items} />)}</Load>
    </>
  );
}

function EditSource({ name, types }: { name: string; types: SourceType[] }) {
  const t = useT();
  const source = useQuery({ ...queries.source(name), refetchInterval: false });
  const place = { label: t("nav.sources"), href: paths.sources(), of: (similar: string) => paths.newSource({ edit: similar }) };
  return (
    <Load query={source} place={place}>
      {(data) => <Steps key={name} types={types} fixedType={data.type} initial={{ name, config: configOf(data.spec) }} />}
    </Load>
  );
}

interface StepsProps {
  types: SourceType[];
  fixedType?: string;
  initial?: Draft;
}

function Steps({ types, fixedType, initial }: StepsProps) {
  const t = useT();
  const [view, setView] = useView();
  const [draft, setDraft] = useState<Draft>(initial ?? { name: "", config: {} });
  const type = useMemo(() => types.find((one) => one.name === (fixedType ?? view.type)), [types, fixedType, view.type]);
  const edited = initial !== undefined;
  const reviewing = type !== undefined && view.step === "review" && draft.name !== "";
  const step = type === undefined ? 0 : reviewing ? 2 : 1;

  // A reload loses what was typed; then the review has nothing to show.
  useEffect(() => {
    if (view.step === "review" && draft.name === "") setView({ step: undefined });
  }, [view.step, draft.name, setView]);

  const choose = (chosen: SourceType) => {
    setDraft({ name: draft.name, config: {} });
    setView({ type: chosen.name, step: undefined }, { push: true });
  };

  return (
    <>
      <Stepper active={step} size="sm" mb="lg" classNames={{ step: formClasses.stepperStep, stepBody: formClasses.stepperBody }} allowNextStepsSelect={false} onStepClick={(clicked) => {
        if (clicked === 0 && !edited) setView({ type: undefined, step: undefined }, { push: true });
        if (clicked === 1) setView({ step: undefined }, { push: true });
      }}>
        <Stepper.Step label={t("source.step.type")} description={type ? <span lang="en">{type.name}</span> : undefined} />
        <Stepper.Step label={t("source.step.config")} />
        <Stepper.Step label={t("source.step.review")} />
      </Stepper>
      {type === undefined && <TypeStep types={types} onChoose={choose} />}
      {type !== undefined && !reviewing && (
        <ConfigStep
          key={type.name}
          type={type}
          draft={draft}
          edited={edited}
          onChange={setDraft}
          onNext={() => setView({ step: "review" }, { push: true })}
        />
      )}
      {reviewing && <ReviewStep type={type} draft={draft} onBack={() => setView({ step: undefined })} />}
    </>
  );
}
