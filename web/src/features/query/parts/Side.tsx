import { ActionIcon, SegmentedControl, Tooltip } from "@mantine/core";
import { IconChevronDown, IconChevronRight, IconPlayerPlay } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "~/api/queries";
import type { Completion } from "~/api/types";
import { usePrincipal } from "~/components/principal";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { type MessageKey, useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { examplesFor } from "./examples";
import { usePastQueries } from "./history";
import classes from "./Sql.module.css";

interface Props {
  completion: Completion | undefined;
  onQuery: (sql: string) => void;
  onInsert: (text: string) => void;
}

const SIDES = ["tables", "examples", "history"] as const;

/** Beside the editor: what there is, what to try, what was asked. */
export function Side({ completion, onQuery, onInsert }: Props) {
  const t = useT();
  const [view, setView] = useView();
  const side = SIDES.find((one) => one === view.side) ?? "tables";
  return (
    <Panel flush>
      <SegmentedControl
        fullWidth
        size="xs"
        radius={0}
        aria-label={t("sql.side")}
        value={side}
        onChange={(next) => setView({ side: next === "tables" ? undefined : next })}
        data={SIDES.map((value) => ({ value, label: t(`sql.side.${value}`) }))}
      />
      <div className={classes.list}>
        {side === "tables" && <Tables completion={completion} onQuery={onQuery} onInsert={onInsert} />}
        {side === "examples" && <Examples completion={completion} onQuery={onQuery} />}
        {side === "history" && <History onQuery={onQuery} />}
      </div>
    </Panel>
  );
}

function Tables({ completion, onQuery, onInsert }: Props) {
  const t = useT();
  const [open, setOpen] = useState<string | null>(null);
  const tables = completion?.tables ?? [];
  if (completion && tables.length === 0) return <EmptyState title={t("table.none")} text={t("table.none_hint")} />;
  return (
    <>
      {tables.map((table) => (
        <div key={table.name}>
          <div className={classes.table}>
            <button
              type="button"
              className={classes.item}
              aria-expanded={open === table.name}
              onClick={() => setOpen(open === table.name ? null : table.name)}
            >
              {open === table.name ? <IconChevronDown size={12} /> : <IconChevronRight size={12} />} {table.name}
            </button>
            <Tooltip label={t("sql.query_table")}>
              <ActionIcon
                variant="subtle"
                size="sm"
                aria-label={`${t("sql.query_table")}: ${table.name}`}
                onClick={() => onQuery(`SELECT *\nFROM ${table.name}\nLIMIT 100`)}
              >
                <IconPlayerPlay size={13} />
              </ActionIcon>
            </Tooltip>
          </div>
          {open === table.name && (
            <div className={classes.columns}>
              {table.columns.map((column) => (
                <button key={column.name} type="button" title={t("sql.insert")} onClick={() => onInsert(column.name)} lang="en">
                  {column.name} <span>{column.type}</span>
                </button>
              ))}
            </div>
          )}
        </div>
      ))}
    </>
  );
}

function Examples({ completion, onQuery }: Omit<Props, "onInsert">) {
  const t = useT();
  const examples = examplesFor(completion);
  if (examples.length === 0) return <EmptyState title={t("sql.no_examples")} text={t("table.none_hint")} />;
  return (
    <>
      {examples.map((example) => (
        <button key={example.sql} type="button" className={classes.item} onClick={() => onQuery(example.sql)}>
          {t(example.title, example.params)}
        </button>
      ))}
    </>
  );
}

const STATE_WORDS: Record<string, MessageKey> = {
  running: "sql.state.running",
  done: "sql.state.done",
  failed: "sql.state.failed",
  cancelled: "sql.state.cancelled",
};

function History({ onQuery }: Pick<Props, "onQuery">) {
  const t = useT();
  const format = useFormat();
  const who = usePrincipal();
  const own = usePastQueries();
  const { data: server = [] } = useQuery(queries.runs);
  const [view, setView] = useView();
  const ofServer = view.whose === "all";
  const items = ofServer
    ? server.map((run) => ({ key: run.query_id, sql: run.sql, at: run.started_at, state: run.state, ms: run.elapsed_ms, who: run.principal }))
    : own.map((run) => ({ key: String(run.at_ms), sql: run.sql, at: new Date(run.at_ms).toISOString(), state: run.state, ms: run.elapsed_ms, who: "" }));
  return (
    <>
      <SegmentedControl
        size="xs"
        aria-label={t("sql.whose")}
        value={ofServer ? "all" : "own"}
        onChange={(whose) => setView({ whose: whose === "all" ? whose : undefined })}
        data={[
          { value: "own", label: t("sql.whose.own") },
          { value: "all", label: t("sql.whose.all") },
        ]}
      />
      {items.length === 0 && <EmptyState title={t("sql.no_history")} text={t("sql.no_history_hint")} />}
      {items.map((item) => (
        <button key={item.key} type="button" className={classes.item} onClick={() => onQuery(item.sql)}>
          <code lang="en">{item.sql}</code>
          <small>
            {t(STATE_WORDS[item.state] ?? "sql.state.done")} · {format.duration(item.ms)} · <When at={item.at} />
            {item.who && ` · ${who(item.who)}`}
          </small>
        </button>
      ))}
    </>
  );
}
