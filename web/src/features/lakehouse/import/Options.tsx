import { Checkbox, NativeSelect, TextInput } from "@mantine/core";
import type { ImportPlan } from "~/api/imports";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { DELIMITERS, ENCODINGS, type ImportDraft, isText, mayRegister } from "./draft";
import { type Abilities, choices, labelOf } from "./formats";
import classes from "./Import.module.css";

const shown = (delimiter: string) => (delimiter === "\t" ? "Tab" : delimiter);

interface Props {
  plan: ImportPlan;
  draft: ImportDraft;
  abilities: Abilities;
  onChange: (draft: ImportDraft) => void;
  /** Looks again, so that what is chosen is checked at once. */
  onAgain: (draft: ImportDraft) => void;
}

/** How the files are read and what becomes of what cannot be read. What is not chosen is as it was found. */
export function Options({ plan, draft, abilities, onChange, onAgain }: Props) {
  const t = useT();
  const set = (more: Partial<ImportDraft>) => onChange({ ...draft, ...more });
  const format = draft.format || plan.format;
  const found = (value: string) => ({ value: "", label: t("import.found", { value }) });
  return (
    <Panel title={t("import.options")} note={t("import.options_note")}>
      <div className={classes.three}>
        <NativeSelect label={t("import.format")} value={draft.format} onChange={(event) => set({ format: event.currentTarget.value })} data={[found(labelOf(plan.format)), ...choices(abilities)]} />
        {format === "excel" && <Excel plan={plan} draft={draft} onChange={set} />}
        {(format === "delta" || format === "iceberg") && (
          <TextInput label={t("import.version")} description={<Prose text={t(`import.version_hint.${format}`)} />} placeholder={plan.version ?? ""} value={draft.version} onChange={(event) => set({ version: event.currentTarget.value })} />
        )}
        {plan.csv && (
          <>
            <NativeSelect label={t("import.delimiter")} value={draft.delimiter} onChange={(event) => set({ delimiter: event.currentTarget.value })} data={[found(shown(plan.csv.delimiter)), ...DELIMITERS.map((value) => ({ value, label: shown(value) }))]} />
            <NativeSelect label={t("import.header")} value={draft.header} onChange={(event) => set({ header: event.currentTarget.value as ImportDraft["header"] })} data={[found(t(plan.csv.header ? "common.yes" : "common.no")), { value: "yes", label: t("common.yes") }, { value: "no", label: t("common.no") }]} />
            <NativeSelect label={t("import.encoding")} value={draft.encoding} onChange={(event) => set({ encoding: event.currentTarget.value })} data={[found(plan.csv.encoding), ...ENCODINGS]} />
            <TextInput label={t("import.nulls")} description={<Prose text={t("import.nulls_hint")} />} placeholder={plan.csv.null.join(", ")} value={draft.nulls ?? ""} onChange={(event) => set({ nulls: event.currentTarget.value === "" ? undefined : event.currentTarget.value })} />
          </>
        )}
        {!draft.register && <TextInput label={t("table.partitioning")} description={<Prose text={t("import.partition_hint")} />} placeholder={plan.table.partition_by.join(", ")} value={draft.partition_by} onChange={(event) => set({ partition_by: event.currentTarget.value })} />}
        {!draft.register && <NativeSelect label={t("import.on_error")} description={t(`import.on_error_hint.${draft.on_error}`)} value={draft.on_error} onChange={(event) => set({ on_error: event.currentTarget.value as ImportDraft["on_error"] })} data={(["fail", "skip", "quarantine"] as const).map((value) => ({ value, label: t(`import.on_error.${value}`) }))} />}
      </div>
      {(mayRegister(plan, draft, abilities) || draft.register) && (
        <Checkbox mt="md" label={t("import.register")} description={<Prose text={t("import.register_hint")} />} checked={draft.register} onChange={(event) => onAgain({ ...draft, register: event.currentTarget.checked })} />
      )}
      {isText(format) && <Checkbox mt="md" label={t("import.infer_all")} checked={draft.infer_all} onChange={(event) => set({ infer_all: event.currentTarget.checked })} />}
      {draft.mode === "append" && <Checkbox mt="sm" label={t("import.only_new")} checked={draft.only_new} onChange={(event) => set({ only_new: event.currentTarget.checked })} />}
    </Panel>
  );
}

/** Which part of a workbook is read. */
function Excel({ plan, draft, onChange }: { plan: ImportPlan; draft: ImportDraft; onChange: (more: Partial<ImportDraft>) => void }) {
  const t = useT();
  const sheets = plan.excel?.sheets ?? [];
  const first = plan.excel?.sheet ?? "";
  return (
    <>
      {sheets.length > 0 ? (
        <NativeSelect label={t("import.sheet")} value={draft.sheet} onChange={(event) => onChange({ sheet: event.currentTarget.value })} data={[{ value: "", label: first === "" ? t("import.sheet_first") : t("import.found", { value: first }) }, ...sheets.map((name) => ({ value: name, label: name }))]} />
      ) : (
        <TextInput label={t("import.sheet")} description={t("import.sheet_hint")} placeholder={first} value={draft.sheet} onChange={(event) => onChange({ sheet: event.currentTarget.value })} />
      )}
      <TextInput label={t("import.range")} description={<Prose text={t("import.range_hint")} />} placeholder={plan.excel?.range ?? ""} value={draft.range} onChange={(event) => onChange({ range: event.currentTarget.value })} />
    </>
  );
}
