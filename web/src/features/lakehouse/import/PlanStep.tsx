import { Button, Checkbox, NativeSelect, Stack } from "@mantine/core";
import { IconPlayerPlay, IconRefresh } from "@tabler/icons-react";
import type { ImportColumn, ImportPlan } from "~/api/imports";
import { ErrorNote, Note } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { Facts } from "~/ui/Facts";
import { ResultGrid } from "~/ui/grid/ResultGrid";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { COLUMN_TYPES, type ImportDraft, isText, sampleColumns } from "./draft";
import { type Abilities, labelOf, typeLabel } from "./formats";
import classes from "./Import.module.css";
import { Options } from "./Options";

interface Props {
  plan: ImportPlan;
  draft: ImportDraft;
  abilities: Abilities;
  onChange: (draft: ImportDraft) => void;
  onAgain: (draft?: ImportDraft) => void;
  looking: boolean;
  onStart: () => void;
  starting: boolean;
  error: unknown;
}

/** What was found in the files and why each column has its type; all of it can be changed before anything is written. */
export function PlanStep({ plan, draft, abilities, onChange, onAgain, looking, onStart, starting, error }: Props) {
  const t = useT();
  const format = useFormat();
  const may = useMay();
  return (
    <Stack gap="md">
      <Facts
        items={[
          { label: t("import.format"), value: <span lang="en">{[labelOf(plan.format), ...(plan.version ? [plan.version] : []), ...(plan.compression === "none" ? [] : [plan.compression])].join(" · ")}</span> },
          { label: t("col.files"), value: format.count(plan.files) },
          { label: t("col.size"), value: format.bytes(plan.bytes) },
          { label: t("import.rows_seen"), hint: t("import.rows_seen_hint"), value: format.count(plan.rows_seen) },
          { label: t("import.target"), value: <span lang="en">{plan.table.name}</span> },
        ]}
      />
      {plan.warnings.map((warning) => (
        <Note key={warning} tone="warn" lang="en" message={warning} />
      ))}
      <Panel flush title={t("form.columns")} note={isText(draft.format || plan.format) && t("import.columns_note")}>
        <DataTable label={t("form.columns")} rows={plan.columns} rowKey={(column) => column.name} columns={useColumns(!isText(draft.format || plan.format), draft, onChange)} rowsShown={200} />
      </Panel>
      <Panel flush title={t("import.sample")} note={t("import.sample_note")}>
        <ResultGrid label={t("import.sample")} columns={sampleColumns(plan, draft.types)} rows={plan.sample_rows} height={300} />
      </Panel>
      <Options plan={plan} draft={draft} abilities={abilities} onChange={onChange} onAgain={onAgain} />
      {error !== null && <ErrorNote error={error} />}
      <div style={{ display: "flex", flexWrap: "wrap", gap: 8 }}>
        <Button size="sm" leftSection={<IconPlayerPlay size={16} />} loading={starting} disabled={!may.edit || looking} onClick={onStart}>
          {t(draft.register ? "import.start_register" : "import.start")}
        </Button>
        <Button size="sm" variant="default" leftSection={<IconRefresh size={16} />} loading={looking} onClick={() => onAgain()}>
          {t("import.again")}
        </Button>
      </div>
    </Stack>
  );
}

function useColumns(typed: boolean, draft: ImportDraft, onChange: (draft: ImportDraft) => void) {
  const t = useT();
  const format = useFormat();
  const type = (column: ImportColumn, chosen: string) => {
    const { [column.name]: _before, ...others } = draft.types;
    onChange({ ...draft, types: chosen === column.type ? others : { ...others, [column.name]: chosen } });
  };
  const key = (name: string, on: boolean) => onChange({ ...draft, key: on ? [...draft.key, name] : draft.key.filter((one) => one !== name) });
  return [
    { key: "name", header: t("topic.column"), cell: (column: ImportColumn) => <span className="mono" lang="en">{column.name}</span> },
    {
      key: "type",
      header: t("col.type"),
      // Such files have types of their own, which stay as they are.
      cell: (column: ImportColumn) => typed ? <span className="mono" lang="en">{typeLabel(column.type)}</span> : (
        <NativeSelect
          size="xs"
          w={138}
          aria-label={t("import.type_of", { name: column.name })}
          value={draft.types[column.name] ?? column.type}
          onChange={(event) => type(column, event.currentTarget.value)}
          data={[...new Set([column.type, ...COLUMN_TYPES])].map((value) => ({ value, label: value }))}
        />
      ),
    },
    { key: "key", header: t("topic.key"), cell: (column: ImportColumn) => <Checkbox size="xs" aria-label={t("import.key_of", { name: column.name })} disabled={draft.register} checked={!draft.register && draft.key.includes(column.name)} onChange={(event) => key(column.name, event.currentTarget.checked)} /> },
    {
      key: "why",
      header: t("import.why"),
      grow: true,
      width_min: 200,
      cell: (column: ImportColumn) => (
        <div>
          {draft.types[column.name] ? <span className="dim">{t("import.why_chosen", { type: column.type })}</span> : column.reason ? <span lang="en"><Prose text={column.reason} /></span> : <span className="dim">{t(column.from_path ? "import.why_path" : typed ? "import.why_typed" : "import.why_fits", { type: column.type })}</span>}
        </div>
      ),
    },
    { key: "nulls", header: t("schema.nulls"), numeric: true, cell: (column: ImportColumn) => (column.nulls === 0 ? <span className="dim">0</span> : <span>{format.count(column.nulls)} <span className="dim">{format.percent(column.nulls / Math.max(1, column.values + column.nulls))}</span></span>) },
    { key: "samples", header: t("import.samples"), cell: (column: ImportColumn) => <span className={`mono dim ${classes.samples}`} lang="en">{column.samples.slice(0, 3).join(", ")}</span> },
  ];
}
