import { UnstyledButton } from "@mantine/core";
import { IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { tableQueries } from "~/api/lakehouse";
import { aboutRef } from "~/api/sql";
import type { QueryResult, TableDetail, TableField } from "~/api/types";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { type ColumnChange, schemaChanges } from "./changes";
import classes from "./Schema.module.css";

/** When each schema was first written with, as far as the metadata remembers. Of the oldest that is remembered it is not known. */
export function firstUses({ rows }: QueryResult): Map<number, string> {
  const first = new Map<number, string>();
  const oldest = rows[0]?.[0];
  for (const [id, at] of rows) if (id !== null && id !== oldest && !first.has(Number(id))) first.set(Number(id), String(at));
  return first;
}

/** The schemas over time, newest first, each with what it changed. */
export function SchemaHistory({ table }: { table: TableDetail }) {
  const t = useT();
  const [view, setView] = useView();
  const used = useQuery({
    ...tableQueries.sql(["schema-uses", table.namespace, table.table, table.snapshot_id, table.schema_history.length], `SELECT latest_schema_id, timestamp FROM ${aboutRef(table, "metadata_log_entries")} ORDER BY timestamp`),
    enabled: table.schema_history.some((schema) => !schema.at),
    select: firstUses,
  }).data;
  const ordered = table.schema_history.toSorted((a, b) => b.schema_id - a.schema_id);
  return (
    <Panel title={t("table.schema_history")} note={t("schema.history_note")}>
      <ol className={classes.history} aria-label={t("table.schema_history")}>
        {ordered.map((schema, index) => {
          const before = ordered[index + 1];
          const at = schema.at ?? used?.get(schema.schema_id);
          const id = String(schema.schema_id);
          const opened = view.open === id;
          return (
            <li key={id} className={classes.step} data-current={index === 0 || undefined}>
              <div className={classes.head}>
                <UnstyledButton className={classes.title} aria-expanded={opened} onClick={() => setView({ open: opened ? undefined : id })}>
                  {opened ? <IconChevronDown size={14} aria-hidden /> : <IconChevronRight size={14} aria-hidden />}
                  <strong>{t("schema.number", { id })}</strong>
                </UnstyledButton>
                {at && <span className="dim">{schema.at ? null : t("schema.used_since")} <When at={at} /></span>}
                <span className="dim">{t("schema.columns", { count: schema.fields.length })}</span>
                {index === 0 && <span className={classes.current}>{t("table.current")}</span>}
              </div>
              {before ? <Changes changes={schemaChanges(before.fields, schema.fields)} /> : <span className="dim">{t("schema.first")}</span>}
              {opened && <Columns fields={schema.fields} />}
            </li>
          );
        })}
      </ol>
    </Panel>
  );
}

const SIGNS: Record<ColumnChange["kind"], string> = { added: "+", dropped: "−", renamed: "→", type: "→", optional: "○", required: "●", moved: "↕", doc: "“" };

function Changes({ changes }: { changes: ColumnChange[] }) {
  const t = useT();
  if (changes.length === 0) return <span className="dim">{t("change.none")}</span>;
  return (
    <ul className={classes.changes}>
      {changes.map((change) => (
        <li key={`${change.kind}-${change.column}`} data-kind={change.kind}>
          <span aria-hidden className={classes.sign}>{SIGNS[change.kind]}</span>
          <code>{change.column}</code>
          <span>
            {t(`schema.change.${change.kind}`)}
            {(change.kind === "renamed" || change.kind === "type") && <> <code>{change.before}</code> → <code>{change.after}</code></>}
            {change.kind === "added" && <> <code>{change.after}</code></>}
            {(change.kind === "added" || change.kind === "moved") && change.before && <> {t("schema.after")} <code>{change.before}</code></>}
            {change.kind === "doc" && <span lang="en"> {change.after}</span>}
          </span>
        </li>
      ))}
    </ul>
  );
}

function Columns({ fields }: { fields: TableField[] }) {
  const t = useT();
  return (
    <ul className={classes.columns} aria-label={t("topic.schema")} lang="en">
      {fields.map((field) => (
        <li key={field.id} className="mono">
          <span className="dim">{field.id}</span> {field.name} <span className="dim">{field.type}{field.required ? " NOT NULL" : ""}</span>
        </li>
      ))}
    </ul>
  );
}
