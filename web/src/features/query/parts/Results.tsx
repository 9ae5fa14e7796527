import { Anchor, Button, Menu, Tabs } from "@mantine/core";
import { IconCopy, IconDownload } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { commands } from "~/api/queries";
import type { QueryResult } from "~/api/types";
import { toast } from "~/components/toasts";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { CodeBlock } from "~/ui/CodeBlock";
import { copyText, saveFile } from "~/ui/copy";
import { EmptyState } from "~/ui/EmptyState";
import { ResultGrid } from "~/ui/grid/ResultGrid";
import { toJson, toTsv } from "~/ui/grid/cells";
import { ResultChart } from "./ResultChart";
import classes from "./Sql.module.css";

const HEIGHT = 460;
/** As many rows as a browser holds without growing slow; an export has no limit. */
export const ROWS_MAX = 100_000;
/** Lower than the rows, so that the whole chart is seen at once below the editor. */
const CHART_HEIGHT = 330;

interface Props {
  sql: string;
  result: QueryResult;
  explained: boolean;
  onExplain: () => void;
  /** Asks again for as many rows as are shown at most. */
  onMore: () => void;
}

/** What a query gave: rows, a chart, or how it was run. */
export function Results({ sql, result, explained, onExplain, onMore }: Props) {
  const t = useT();
  const [view, setView] = useView();
  const show = view.show === "chart" || view.show === "plan" ? view.show : explained && result.plan ? "plan" : "grid";
  return (
    <Tabs value={show} onChange={(next) => setView({ show: next === "grid" ? undefined : (next ?? undefined) })} keepMounted={false}>
      <div className={classes.resultBar}>
        <Tabs.List aria-label={t("sql.result")}>
          <Tabs.Tab value="grid">{t("sql.grid")}</Tabs.Tab>
          <Tabs.Tab value="chart">{t("sql.chart")}</Tabs.Tab>
          <Tabs.Tab value="plan">{t("sql.plan")}</Tabs.Tab>
        </Tabs.List>
        <Stats result={result} onMore={onMore} />
        <ExportMenu sql={sql} result={result} />
      </div>
      <Tabs.Panel value="grid">
        {result.columns.length === 0 || (result.row_count === 0 && result.rows.length === 0) ? (
          <EmptyState title={t("sql.no_rows")} text={t("sql.no_rows_hint")} />
        ) : (
          <ResultGrid label={t("sql.result")} columns={result.columns} rows={result.rows} height={HEIGHT} />
        )}
      </Tabs.Panel>
      <Tabs.Panel value="chart">
        <ResultChart result={result} height={CHART_HEIGHT} />
      </Tabs.Panel>
      <Tabs.Panel value="plan">
        <div className={classes.plan}>
          {result.plan ? (
            <CodeBlock code={result.plan} label={t("sql.plan")} tall />
          ) : (
            <EmptyState
              title={t("sql.no_plan")}
              text={t("sql.no_plan_hint")}
              action={<Button onClick={onExplain}>{t("sql.explain")}</Button>}
            />
          )}
        </div>
      </Tabs.Panel>
    </Tabs>
  );
}

function Stats({ result, onMore }: { result: QueryResult; onMore: () => void }) {
  const t = useT();
  const format = useFormat();
  const { stats } = result;
  const parts: ReactNode[] = [
    t("sql.row_count", { count: result.row_count }),
    format.duration(result.elapsed_ms),
    t("sql.scanned", {
      rows: format.compact(stats.rows_scanned),
      bytes: format.bytes(stats.bytes_scanned),
      files: format.count(stats.files_scanned),
      all: format.count(stats.files_total),
    }),
  ];
  return (
    <span className={classes.stats} role="status">
      {parts.join(" · ")}
      {result.truncated && (
        <>
          <strong> · {t("sql.truncated", { count: result.rows.length })}</strong>
          {result.rows.length < ROWS_MAX && (
            <Anchor component="button" type="button" inherit ml={8} onClick={onMore}>
              {t("sql.more", { count: ROWS_MAX })}
            </Anchor>
          )}
        </>
      )}
    </span>
  );
}

function ExportMenu({ sql, result }: { sql: string; result: QueryResult }) {
  const t = useT();
  const file = useMutation({
    mutationFn: async (format: "csv" | "arrow") => saveFile(`tarn.${format}`, await commands.queryFile({ sql, format, read_only: true })),
    onError: (error) => toast(error.message, true),
  });
  const copy = async () => {
    if (await copyText(toTsv(result.columns, result.rows))) toast(t("sql.copied", { count: result.rows.length }));
  };
  return (
    <Menu position="bottom-end" withArrow>
      <Menu.Target>
        <Button variant="default" leftSection={<IconDownload size={15} />} loading={file.isPending}>
          {t("sql.export")}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconCopy size={15} />} onClick={() => void copy()}>
          {t("sql.copy_all")}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Item onClick={() => file.mutate("csv")}>CSV</Menu.Item>
        <Menu.Item onClick={() => saveFile("tarn.json", toJson(result.columns, result.rows), "application/json")}>JSON</Menu.Item>
        <Menu.Item onClick={() => file.mutate("arrow")}>Arrow</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
