import { Button, Group, Modal, NativeSelect, Stack, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { tableCommands } from "~/api/lakehouse";
import type { TableDetail } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { paths } from "~/components/paths";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { Prose } from "~/ui/Prose";
import { type Alteration, alterSql, type Entered, nameFault, sqlType } from "./alter";
import { exampleOf, partitionSql, PROPERTIES, TRANSFORMS, transformsOf, TYPES } from "./draft";

interface Props {
  table: TableDetail;
  change: Alteration;
  onClose: () => void;
}

const LAST = " last";

/** Asks what a change needs, shows the statement, and runs it. */
export function AlterDialog({ table, change, onClose }: Props) {
  const t = useT();
  const client = useQueryClient();
  const navigate = useNavigate();
  const names = table.schema.map((field) => field.name);
  const others = names.filter((name) => !("column" in change) || name !== change.column);
  const [entered, setEntered] = useState<Entered>({
    name: change.kind === "rename" ? change.column : change.kind === "property" ? (change.name ?? "") : change.kind === "table_name" ? table.table : "",
    type: change.kind === "widen" ? (change.types[0] ?? "") : "",
    value: change.kind === "property" || change.kind === "comment" ? (change.value ?? "") : "",
    after: undefined,
    transform: "identity",
    width: "16",
    partition: "",
  });
  const [tried, setTried] = useState(false);
  const [column, setColumn] = useState(names[0] ?? "");
  const type = sqlType(table.schema.find((field) => field.name === column)?.type ?? "");
  const transforms = transformsOf(type);
  const transform = transforms.includes(entered.transform) ? entered.transform : (transforms[0] ?? "identity");
  const sized = transform === "bucket" || transform === "truncate";
  const set = (more: Partial<Entered>) => setEntered({ ...entered, ...more });
  const isNamed = change.kind === "add" || change.kind === "rename" || change.kind === "property" || change.kind === "table_name";
  const fault = isNamed ? nameFault(entered.name, change.kind === "property" ? [] : change.kind === "table_name" ? [table.table] : names) : undefined;
  const typeFault = change.kind === "add" && entered.type.trim() === "";
  const widthFault = change.kind === "partition" && sized && !/^[1-9]\d{0,8}$/.test(entered.width.trim());
  const ok = !fault && !typeFault && !widthFault && !(change.kind === "partition" && transforms.length === 0);
  const sql = alterSql(table, change, { ...entered, partition: partitionSql(transform, column, entered.width) });
  const run = useMutation({
    mutationFn: () => tableCommands.run(sql),
    onSuccess: async () => {
      toast(t("form.altered", { name: table.name }));
      onClose();
      if (change.kind === "table_name") await navigate({ to: paths.table(`${table.namespace}.${entered.name.trim()}`) });
      await client.invalidateQueries({ queryKey: ["lakehouse"] });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (ok) run.mutate();
  };
  const example = exampleOf(transform, type, entered.width);
  const subject = "column" in change ? change.column : "field" in change ? change.field : table.name;
  return (
    <Modal opened onClose={onClose} title={t(`form.alter.${change.kind}`, { name: subject })} closeButtonProps={{ "aria-label": t("common.close") }}>
      <form onSubmit={submit} noValidate>
        <Stack gap="md">
          <div className="dim"><Prose text={t(`form.alter_text.${change.kind}`)} /></div>
          {isNamed && (
            <TextInput label={t("col.name")} data-autofocus value={entered.name} list={change.kind === "property" ? "property-names" : undefined} readOnly={change.kind === "property" && change.name !== undefined} onChange={(event) => set({ name: event.currentTarget.value })} error={fault && tried ? t(fault) : undefined} />
          )}
          {change.kind === "property" && (
            <>
              <datalist id="property-names">{PROPERTIES.map((name) => <option key={name} value={name} />)}</datalist>
              <TextInput label={t("form.value")} value={entered.value} onChange={(event) => set({ value: event.currentTarget.value })} />
            </>
          )}
          {change.kind === "comment" && <TextInput data-autofocus label={t("form.comment")} value={entered.value} onChange={(event) => set({ value: event.currentTarget.value })} />}
          {change.kind === "add" && (
            <>
              <datalist id="column-types">{TYPES.map((name) => <option key={name} value={name} />)}</datalist>
              <TextInput label={t("col.type")} list="column-types" placeholder="TEXT" value={entered.type} onChange={(event) => set({ type: event.currentTarget.value })} error={tried && typeFault ? t("form.fault.type") : undefined} />
            </>
          )}
          {change.kind === "widen" && <NativeSelect label={t("form.new_type")} value={entered.type} onChange={(event) => set({ type: event.currentTarget.value })} data={change.types} />}
          {(change.kind === "add" || change.kind === "move") && (
            <NativeSelect
              label={t("form.place")}
              value={entered.after ?? (change.kind === "add" ? LAST : "")}
              onChange={(event) => set({ after: event.currentTarget.value === LAST ? undefined : event.currentTarget.value })}
              data={[...(change.kind === "add" ? [{ value: LAST, label: t("form.place_last") }] : []), { value: "", label: t("form.place_first") }, ...others.map((name) => ({ value: name, label: t("form.place_after", { name }) }))]}
            />
          )}
          {change.kind === "partition" && (
            <>
              <NativeSelect label={t("topic.column")} value={column} onChange={(event) => setColumn(event.currentTarget.value)} data={names} error={transforms.length === 0 ? t("form.fault.transform") : undefined} />
              <NativeSelect label={t("table.transform")} value={transform} onChange={(event) => set({ transform: TRANSFORMS.find((one) => one === event.currentTarget.value) ?? "identity" })} data={transforms} description={t(`form.transform.${transform}`)} />
              {sized && <TextInput label={t("form.width")} inputMode="numeric" value={entered.width} onChange={(event) => set({ width: event.currentTarget.value })} error={widthFault ? t("form.fault.width") : undefined} />}
              {example && <div className="dim">{t("form.example")} <code>{example[0]}</code> → <code>{example[1]}</code></div>}
            </>
          )}
          <CodeBlock code={sql} label="SQL" />
          {run.error && <ErrorNote error={run.error} />}
          <Group justify="flex-end" gap={8}>
            <Button variant="default" onClick={onClose}>{t("common.cancel")}</Button>
            <Button type="submit" color={change.kind === "drop" ? "red.8" : "tarn"} loading={run.isPending} {...(isNamed || change.kind === "comment" ? {} : { "data-autofocus": true })}>{t("form.run")}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
