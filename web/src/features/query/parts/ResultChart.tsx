import { Group, MultiSelect, NativeSelect, SegmentedControl, Skeleton } from "@mantine/core";
import { lazy, Suspense, useMemo } from "react";
import type { QueryResult } from "~/api/types";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { EmptyState } from "~/ui/EmptyState";
import { isNumericType, isTemporalType } from "~/ui/grid/cells";
import { CHART_TYPES, chosenChart, POINTS_MAX, seriesPoints, suggestChart } from "./chart";

const EChart = lazy(() => import("~/ui/EChart"));

/** The result as a chart; what is drawn is in the URL. */
export function ResultChart({ result, height }: { result: QueryResult; height: number }) {
  const t = useT();
  const [view, setView] = useView();
  const { columns, rows } = result;
  const suggested = useMemo(() => suggestChart(columns, rows), [columns, rows]);
  const choice = chosenChart(suggested, columns, view);
  const key = choice && `${choice.x}\n${choice.y.join("\n")}`;
  const series = useMemo(() => {
    const [x = "", ...y] = key?.split("\n") ?? [];
    return y.map((name) => ({ name, points: seriesPoints(columns, rows, x, name) }));
  }, [columns, rows, key]);

  const numeric = columns.filter((column) => isNumericType(column.type)).map((column) => column.name);
  if (numeric.length === 0 || rows.length === 0) {
    return <EmptyState title={t("sql.no_chart")} text={t("sql.no_chart_hint")} />;
  }
  const xType = columns.find((column) => column.name === choice?.x)?.type ?? "";
  const axis = choice?.type === "scatter" && isNumericType(xType) ? "value" : isTemporalType(xType) ? "time" : "category";
  return (
    <div style={{ padding: "12px 16px" }}>
      <Group gap={10} mb={8} wrap="wrap" align="flex-end">
        <SegmentedControl
          size="xs"
          aria-label={t("sql.chart_type")}
          value={choice?.type ?? "bar"}
          onChange={(chart) => setView({ chart })}
          data={CHART_TYPES.map((value) => ({ value, label: t(`sql.chart.${value}`) }))}
        />
        <NativeSelect
          size="xs"
          aria-label={t("sql.chart_x")}
          value={choice?.x ?? ""}
          onChange={(event) => setView({ x: event.currentTarget.value })}
          data={[{ value: "", label: t("sql.chart_x") }, ...columns.map((column) => ({ value: column.name, label: column.name }))]}
        />
        <MultiSelect
          size="xs"
          aria-label={t("sql.chart_y")}
          value={choice?.y ?? []}
          maxValues={6}
          onChange={(y) => setView({ y: y.join(",") })}
          data={numeric}
          clearButtonProps={{ "aria-label": t("common.clear_filters") }}
        />
        {rows.length > POINTS_MAX && <span className="dim">{t("sql.chart_first", { count: POINTS_MAX })}</span>}
      </Group>
      {choice ? (
        <Suspense fallback={<Skeleton height={height} />}>
          <EChart label={t("sql.chart_label", { x: choice.x, y: choice.y.join(", ") })} type={choice.type} axis={axis} xName={choice.x} series={series} height={height} />
        </Suspense>
      ) : (
        <EmptyState title={t("sql.choose_axes")} />
      )}
    </div>
  );
}
