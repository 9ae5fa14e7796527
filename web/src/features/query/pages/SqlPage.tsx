import { Button, Kbd, Skeleton } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconLink, IconListTree, IconPlayerPlay, IconPlayerStop } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from "react";
import { ApiError } from "~/api/client";
import type { QueryResult } from "~/api/types";
import { queries } from "~/api/queries";
import { ErrorNote, Note } from "~/components/ErrorNote";
import { PageHeader } from "~/components/PageHeader";
import { stringifyView, useView } from "~/components/view";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { copyText } from "~/ui/copy";
import { EmptyState } from "~/ui/EmptyState";
import { MOD_KEY } from "~/ui/keys";
import { Panel } from "~/ui/Panel";
import { examplesFor } from "../parts/examples";
import { Results, ROWS_MAX } from "../parts/Results";
import { isChange, type RunState, useRun } from "../parts/run";
import { Side } from "../parts/Side";
import classes from "../parts/Sql.module.css";

const SqlEditor = lazy(() => import("../parts/SqlEditor"));
const URL_AFTER_MS = 600;

/** The text of the editor, kept in the URL. */
function useSqlText(): [string, (sql: string) => void] {
  const [view, setView] = useView();
  const [sql, setSql] = useState(view.q ?? "");
  const stored = useRef(view.q ?? "");
  const store = useDebouncedCallback((text: string) => {
    stored.current = text;
    setView({ q: text });
  }, URL_AFTER_MS);
  useEffect(() => {
    // Back, forward or a link changed the address, not the editor.
    const outside = view.q ?? "";
    if (outside === stored.current) return;
    stored.current = outside;
    setSql(outside);
  }, [view.q]);
  const change = (text: string) => {
    setSql(text);
    store(text);
  };
  return [sql, change];
}

export default function SqlPage() {
  const t = useT();
  const [view, setView] = useView();
  const [sql, setSql] = useSqlText();
  const completion = useQuery(queries.completion);
  const { run, start, cancel } = useRun();
  const asked = useRef(false);

  useEffect(() => {
    if (view.run !== "1" || asked.current || !view.q) return;
    asked.current = true;
    // The address loses `run` once the answer is there, so that a reload or a shared link does not run it unasked.
    void start(view.q).then(() => setView({ run: undefined }));
  }, [view.run, view.q, start, setView]);
  useEffect(() => cancel, [cancel]);

  const marks = useMemo(() => {
    if (run.state !== "failed" || !(run.error instanceof ApiError) || !run.error.position) return [];
    return [{ ...run.error.position, message: run.error.message }];
  }, [run]);
  // What changes something is put before the eyes, and run by hand.
  const query = (text: string) => {
    setSql(text);
    if (!isChange(text)) void start(text);
  };
  // The address follows the editor a moment later; a link must not be older than what is seen. Nor does it run by itself.
  const copyLink = async () => {
    const link = `${window.location.origin}/sql${stringifyView({ ...view, run: undefined, q: sql })}`;
    if (await copyText(link)) toast(t("sql.link_copied"));
  };
  const running = run.state === "running";

  return (
    <>
      <PageHeader title={t("nav.sql")} lead={t("sql.lead")} />
      <div className={classes.page}>
        <div className={classes.side}>
          <Side completion={completion.data} onQuery={query} onInsert={(text) => setSql(`${sql}${/\s$|^$/.test(sql) ? "" : " "}${text}`)} />
        </div>
        <div className={classes.main}>
          <Panel flush>
            <Suspense fallback={<Skeleton height={160} m="md" />}>
              <SqlEditor
                label={t("sql.editor")}
                value={sql}
                onChange={setSql}
                onRun={() => void start(sql, { changes: true })}
                completion={completion.data}
                marks={marks}
                minHeight="150px"
                maxHeight="40vh"
              />
            </Suspense>
            <div className={classes.bar}>
              {running ? (
                <Button color="red.8" leftSection={<IconPlayerStop size={15} />} onClick={cancel}>
                  {t("common.cancel")}
                </Button>
              ) : (
                <Button leftSection={<IconPlayerPlay size={15} />} disabled={!sql.trim()} onClick={() => void start(sql, { changes: true })}>
                  {t("sql.run")}
                </Button>
              )}
              <Button variant="default" leftSection={<IconListTree size={15} />} disabled={!sql.trim() || running} onClick={() => void start(sql, { explain: true })}>
                {t("sql.explain")}
              </Button>
              <Button variant="subtle" color="gray" leftSection={<IconLink size={15} />} disabled={!sql.trim()} onClick={() => void copyLink()}>
                {t("sql.copy_link")}
              </Button>
              <span className={`dim ${classes.end}`}>
                <Kbd size="xs">{MOD_KEY}</Kbd>
                <Kbd size="xs">Enter</Kbd>
              </span>
            </div>
          </Panel>
          <Outcome run={run} onMore={(text) => void start(text, { limit: ROWS_MAX })} onExplain={() => void start(sql, { explain: true })} first={examplesFor(completion.data)[0]?.sql} onQuery={query} />
        </div>
      </div>
    </>
  );
}

interface OutcomeProps {
  run: RunState;
  onMore: (sql: string) => void;
  onExplain: () => void;
  first: string | undefined;
  onQuery: (sql: string) => void;
}

function Outcome({ run, onMore, onExplain, first, onQuery }: OutcomeProps) {
  const t = useT();
  switch (run.state) {
    case "new":
      return (
        <Panel>
          <EmptyState
            title={t("sql.nothing_yet")}
            text={t("sql.nothing_yet_hint")}
            action={first ? <Button variant="light" onClick={() => onQuery(first)}>{t("sql.run_example")}</Button> : undefined}
          />
        </Panel>
      );
    case "running":
      return <Running key={run.started_ms} started_ms={run.started_ms} />;
    case "cancelled":
      return <Note tone="warn" message={t("sql.cancelled")} />;
    case "failed":
      return <ErrorNote error={run.error} />;
    case "done":
      if (run.result.command) {
        return (
          <Panel>
            <span role="status">{told(t, run.result)}</span>
          </Panel>
        );
      }
      return (
        <Panel flush>
          <Results key={run.result.query_id} sql={run.sql} result={run.result} explained={run.explained} onExplain={onExplain} onMore={() => onMore(run.sql)} />
        </Panel>
      );
  }
}

/** What a statement did, as its words and the number of rows. */
function told(t: ReturnType<typeof useT>, { command, rows }: QueryResult): string {
  const count = rows[0]?.[0];
  const done = command === "SELECT" ? "CREATE TABLE AS" : (command ?? "");
  return count === undefined ? t("sql.changed", { command: done }) : t("sql.changed_rows", { command: done, count: Number(count) });
}

function Running({ started_ms }: { started_ms: number }) {
  const t = useT();
  const format = useFormat();
  const [now, setNow] = useState(started_ms);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 100);
    return () => clearInterval(timer);
  }, []);
  return (
    <Panel>
      <span role="status">
        {t("sql.running")} {format.duration(now - started_ms)}
      </span>
    </Panel>
  );
}
