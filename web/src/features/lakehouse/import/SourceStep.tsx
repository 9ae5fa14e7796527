import { Button, Checkbox, FileButton, NativeSelect, SegmentedControl, Stack, TextInput } from "@mantine/core";
import { IconEye, IconUpload } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { type DragEvent, type FormEvent, type ReactNode, useState } from "react";
import { importCommands } from "~/api/imports";
import { queries } from "~/api/queries";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { faultsOf, type ImportDraft, OF_FILES, type Place, tableNameOf } from "./draft";
import { type Abilities, choices, endingsOf } from "./formats";
import classes from "./Import.module.css";

interface Props {
  draft: ImportDraft;
  abilities: Abilities;
  onChange: (draft: ImportDraft) => void;
  onNext: () => void;
  looking: boolean;
  error: unknown;
}

/** Where the files are, and where their rows go. */
export function SourceStep({ draft, abilities, onChange, onNext, looking, error }: Props) {
  const t = useT();
  const may = useMay();
  const [tried, setTried] = useState(false);
  const known = useQuery(queries.tables).data ?? [];
  const faults = faultsOf(draft);
  const fault = (field: string) => (tried && faults[field] ? <Prose text={t(faults[field])} /> : undefined);
  const set = (more: Partial<ImportDraft>) => onChange({ ...draft, ...more });
  /** A name for the table comes with the path until one was entered. What was chosen about other files goes. */
  const named = (path: string) => ({ ...OF_FILES, ...(draft.table === "" || draft.table === tableNameOf(draft.file || draft.path) ? { table: tableNameOf(path) } : {}) });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (Object.keys(faults).length === 0) onNext();
  };
  const exists = known.some((one) => one.name === `${draft.namespace.trim()}.${draft.table.trim()}`);
  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="md">
        <Panel
          title={t("import.source")}
          actions={
            <SegmentedControl
              size="xs"
              aria-label={t("import.source")}
              value={draft.place}
              onChange={(place) => onChange({ ...draft, ...OF_FILES, place: place as Place, path: "", file: "" })}
              data={(["upload", "path", "s3"] as const).map((place) => ({ value: place, label: t(`import.place.${place}`) }))}
            />
          }
        >
          {draft.place === "upload" ? (
            <Upload draft={draft} endings={endingsOf(abilities)} fault={fault("path")} onDone={(path, file) => set({ path, file, ...named(file) })} />
          ) : (
            <Stack gap="sm">
              <TextInput
                label={t(draft.place === "s3" ? "import.s3_path" : "import.path")}
                description={<Prose text={t(draft.place === "s3" ? "import.s3_hint" : "import.path_hint")} />}
                placeholder={draft.place === "s3" ? "s3://bucket/sales/" : "data/sales/*.csv"}
                value={draft.path}
                onChange={(event) => set({ path: event.currentTarget.value, ...named(event.currentTarget.value) })}
                error={fault("path")}
              />
              {draft.place === "s3" && <S3 draft={draft} fault={fault} onChange={set} />}
            </Stack>
          )}
          <NativeSelect
            mt="sm"
            maw={300}
            label={t("import.format")}
            value={draft.format}
            onChange={(event) => set({ format: event.currentTarget.value })}
            data={[{ value: "", label: t("import.format_by_name") }, ...choices(abilities)]}
          />
        </Panel>
        <Panel title={t("import.target")} note={t("import.target_note")}>
          <div className={classes.three}>
            <datalist id="import-namespaces">{[...new Set(known.map(({ namespace }) => namespace))].map((one) => <option key={one} value={one} />)}</datalist>
            <TextInput label={t("table.namespace")} placeholder="shop" list="import-namespaces" value={draft.namespace} onChange={(event) => set({ namespace: event.currentTarget.value })} error={fault("namespace")} />
            <TextInput label={t("form.table")} value={draft.table} onChange={(event) => set({ table: event.currentTarget.value })} error={fault("table")} />
            <NativeSelect
              label={t("import.mode")}
              value={draft.mode}
              onChange={(event) => set({ mode: event.currentTarget.value as ImportDraft["mode"] })}
              data={(["create", "append", "replace"] as const).map((mode) => ({ value: mode, label: t(`import.mode.${mode}`) }))}
              error={exists && draft.mode === "create" ? t("import.fault.exists") : undefined}
            />
          </div>
        </Panel>
        {error !== null && <ErrorNote error={error} />}
        <div>
          <Button type="submit" size="sm" leftSection={<IconEye size={16} />} loading={looking} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")}>
            {t("import.look")}
          </Button>
        </div>
      </Stack>
    </form>
  );
}

function Upload({ draft, endings, fault, onDone }: { draft: ImportDraft; endings: string; fault: ReactNode; onDone: (path: string, file: string) => void }) {
  const t = useT();
  const format = useFormat();
  const may = useMay();
  const [over, setOver] = useState(false);
  const upload = useMutation({ mutationFn: (file: File) => importCommands.upload(file), onSuccess: ({ path }, file) => onDone(path, file.name) });
  const take = (file: File | null | undefined) => file && may.edit && upload.mutate(file);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };
  return (
    <div
      className={classes.drop}
      data-over={over || undefined}
      data-bad={fault !== undefined || undefined}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <FileButton onChange={take} accept={endings}>
        {(props) => (
          <Button {...props} variant="default" leftSection={<IconUpload size={15} />} loading={upload.isPending} disabled={!may.edit}>
            {t("import.choose")}
          </Button>
        )}
      </FileButton>
      <span className="dim">{t("import.drop_here")}</span>
      {draft.path !== "" && (
        <span role="status">
          <strong lang="en">{draft.file}</strong> {upload.data && format.bytes(upload.data.bytes)}
        </span>
      )}
      {fault && <span className={classes.bad} role="alert">{fault}</span>}
      {upload.error && <ErrorNote error={upload.error} />}
    </div>
  );
}

function S3({ draft, fault, onChange }: { draft: ImportDraft; fault: (field: string) => ReactNode; onChange: (more: Partial<ImportDraft>) => void }) {
  const t = useT();
  const secrets = useQuery({ ...queries.secrets, retry: false }).data ?? [];
  return (
    <>
      <div className={classes.two}>
        <TextInput label={t("import.endpoint")} description={t("import.endpoint_hint")} placeholder="http://127.0.0.1:9000" value={draft.endpoint} onChange={(event) => onChange({ endpoint: event.currentTarget.value })} />
        <TextInput label={t("import.region")} description={t("import.region_hint")} placeholder="eu-central-1" value={draft.region} onChange={(event) => onChange({ region: event.currentTarget.value })} />
        <TextInput label={t("import.access_key")} description={t("import.access_key_hint")} value={draft.access_key_id} autoComplete="off" onChange={(event) => onChange({ access_key_id: event.currentTarget.value })} />
        <NativeSelect label={t("import.secret")} description={t("import.secret_hint")} value={draft.secret} onChange={(event) => onChange({ secret: event.currentTarget.value })} data={[{ value: "", label: t("common.none") }, ...secrets.map(({ name }) => ({ value: name, label: name }))]} error={fault("secret")} />
      </div>
      <Checkbox label={t("import.allow_http")} checked={draft.allow_http} onChange={(event) => onChange({ allow_http: event.currentTarget.checked })} />
    </>
  );
}
