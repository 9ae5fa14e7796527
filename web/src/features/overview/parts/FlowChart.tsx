import { SegmentedControl } from "@mantine/core";
import { useMemo } from "react";
import type { Overview } from "~/api/types";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { RateChart } from "~/ui/RateChart";
import classes from "./Overview.module.css";

const WINDOW_MS = 300_000;

/** The last five minutes of rows or queries, moving. */
export function FlowChart({ overview }: { overview: Overview }) {
  const t = useT();
  const format = useFormat();
  const [view, setView] = useView();
  const shown = view.chart === "queries" ? "queries" : "rows";
  const samples = useMemo(
    () =>
      overview.rates.map((point) => ({
        at_ms: point.at_ms,
        value: shown === "rows" ? point.rows_per_s : point.queries_per_s,
      })),
    [overview.rates, shown],
  );
  const now = shown === "rows" ? overview.rows_per_s : overview.queries_per_s;
  return (
    <section className={classes.hero} aria-label={t("overview.now")}>
      <div className={classes.now}>
        <span className="dim">{t(shown === "rows" ? "overview.rows_now" : "overview.queries_now")}</span>
        <strong>{format.compact(now)}</strong>
        <div className={classes.side}>
          <span>{t("overview.bytes_now", { rate: format.bytes(overview.bytes_per_s) })}</span>
          <span>{t("overview.total_now", { count: format.compact(overview.rows_total) })}</span>
        </div>
        <SegmentedControl
          mt="auto"
          mb={8}
          size="xs"
          w="fit-content"
          aria-label={t("overview.chart_of")}
          value={shown}
          onChange={(chart) => setView({ chart: chart === "rows" ? undefined : chart })}
          data={[
            { value: "rows", label: t("overview.rows") },
            { value: "queries", label: t("overview.queries") },
          ]}
        />
      </div>
      <RateChart
        label={t(shown === "rows" ? "overview.rows_chart" : "overview.queries_chart")}
        samples={samples}
        window_ms={WINDOW_MS}
        height={178}
        format={format.compact}
        formatAxis={format.axis}
        formatMinute={(at_ms) => format.minute(new Date(at_ms).toISOString())}
        formatTime={(at_ms) => format.time(new Date(at_ms).toISOString())}
      />
    </section>
  );
}
