import { Button, Stack, TextInput } from "@mantine/core";
import { IconPlus, IconTerminal2 } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { tableCommands } from "~/api/lakehouse";
import { queries } from "~/api/queries";
import { AppLink } from "~/components/AppLink";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { ColumnRows } from "../forms/ColumnRows";
import { createSql, faultsOf, type TableDraft } from "../forms/draft";
import classes from "../forms/Forms.module.css";
import { PartitionRows } from "../forms/PartitionRows";
import { PropertyRows } from "../forms/PropertyRows";

const EMPTY: TableDraft = {
  namespace: "",
  table: "",
  columns: [{ id: 1, name: "id", type: "BIGINT", required: false, key: true }],
  partitions: [],
  properties: [],
};

/** Makes a table by a form that shows the statement it runs. */
export default function TableFormPage() {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const navigate = useNavigate();
  const known = useQuery(queries.tables).data ?? [];
  const [draft, setDraft] = useState(EMPTY);
  const [tried, setTried] = useState(false);
  const faults = faultsOf(draft, known.map(({ name }) => name));
  const shown = tried ? faults : faults.table === "form.fault.taken" ? { table: faults.table } : {};
  const fault = (place: string) => (shown[place] ? <Prose text={t(shown[place])} /> : undefined);
  const set = (more: Partial<TableDraft>) => setDraft({ ...draft, ...more });
  const ok = Object.keys(faults).length === 0;
  const statements = createSql(draft, [...new Set(known.map(({ namespace }) => namespace))]);
  const name = `${draft.namespace.trim()}.${draft.table.trim()}`;
  const create = useMutation({
    mutationFn: async () => {
      for (const statement of statements) await tableCommands.run(statement);
    },
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["lakehouse"] });
      toast(t("form.created", { name }));
      await navigate({ to: paths.table(name) });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (ok) create.mutate();
    else requestAnimationFrame(() => document.querySelector<HTMLElement>("main [aria-invalid=true]")?.focus());
  };
  return (
    <>
      <PageHeader title={t("form.create")} parent={{ label: t("nav.tables"), href: paths.tables() }} lead={t("form.create_lead")} />
      <form className={classes.two} onSubmit={submit} noValidate>
        <Stack gap="md">
          <Panel title={t("col.name")}>
            <div className={classes.pair}>
              <datalist id="namespaces">{[...new Set(known.map(({ namespace }) => namespace))].map((one) => <option key={one} value={one} />)}</datalist>
              <TextInput label={t("table.namespace")} placeholder="shop" list="namespaces" value={draft.namespace} onChange={(event) => set({ namespace: event.currentTarget.value })} error={fault("namespace")} />
              <TextInput label={t("form.table")} value={draft.table} onChange={(event) => set({ table: event.currentTarget.value })} error={fault("table")} />
            </div>
          </Panel>
          <ColumnRows columns={draft.columns} fault={fault} onChange={(columns) => set({ columns, partitions: draft.partitions.filter((one) => columns.some(({ id }) => id === one.column)) })} />
          <PartitionRows draft={draft} fault={fault} onChange={(partitions) => set({ partitions })} />
          <PropertyRows properties={draft.properties} fault={fault} onChange={(properties) => set({ properties })} />
        </Stack>
        <div className={classes.sticky}>
          <Panel title={t("form.sql")} note={t("form.sql_note")}>
            <Stack gap="md">
              <CodeBlock code={statements.map((one) => `${one};`).join("\n")} label={t("form.sql")} tall />
              {tried && !ok && <div style={{ color: "var(--bad)" }}>{t("form.correct")}</div>}
              {create.error && <ErrorNote error={create.error} />}
              <div className={classes.buttons}>
                <Button type="submit" leftSection={<IconPlus size={15} />} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} loading={create.isPending}>
                  {t("form.create")}
                </Button>
                <Button variant="default" component={AppLink} href={paths.sql({ q: statements.at(-1) ?? "" })} leftSection={<IconTerminal2 size={15} />}>
                  {t("form.to_sql")}
                </Button>
              </div>
            </Stack>
          </Panel>
        </div>
      </form>
    </>
  );
}
