import { useMantineColorScheme, useComputedColorScheme } from "@mantine/core";
import { BarChart, LineChart, ScatterChart } from "echarts/charts";
import { DataZoomInsideComponent, GridComponent, LegendComponent, TooltipComponent } from "echarts/components";
import { type ECharts, init, use as register } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useRef } from "react";

register([BarChart, LineChart, ScatterChart, GridComponent, TooltipComponent, LegendComponent, DataZoomInsideComponent, CanvasRenderer]);

export interface Series {
  name: string;
  points: [unknown, number | null][];
}

interface Props {
  label: string;
  type: "bar" | "line" | "scatter";
  /** How x is read: names side by side, times, or numbers. */
  axis: "category" | "time" | "value";
  xName: string;
  series: Series[];
  height: number;
  /** How a value is written, such as bytes; numbers as they are without it. */
  format?: (value: number) => string;
}

/** More names than this are thinned out instead of slanted. */
const NAMES_MAX = 30;
const CHAR_PX = 7;

const COLOURS = { light: ["#0d6764", "#c2761b", "#225b9c", "#8a4b9e", "#5a7d1e", "#b3403a"], dark: ["#62bdb6", "#e3ae55", "#82b4ea", "#c596d6", "#a7c765", "#f2897f"] };

const variable = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A chart of a result. The caller loads this module when it is needed. */
export default function EChart({ label, type, axis, xName, series, height, format }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<ECharts | null>(null);
  const { colorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light");

  useEffect(() => {
    if (!place.current) return;
    const made = init(place.current);
    chart.current = made;
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => {
    const text = variable("--mantine-color-dimmed");
    const line = variable("--line");
    const names = axis === "category" ? (series[0]?.points.map(([x]) => String(x)) ?? []) : [];
    const crowded = names.length <= NAMES_MAX && names.join("").length * CHAR_PX > (place.current?.clientWidth ?? 0) * 0.9;
    const words = { color: text, fontFamily: variable("--mantine-font-family") };
    chart.current?.setOption(
      {
        color: COLOURS[scheme],
        textStyle: words,
        animation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
        animationDuration: 250,
        grid: { left: 8, right: 16, top: 36, bottom: crowded ? 4 : 28, containLabel: true },
        legend: series.length > 1 ? { top: 0, textStyle: words, icon: "roundRect" } : undefined,
        tooltip: {
          trigger: type === "scatter" ? "item" : "axis",
          ...(format ? { valueFormatter: (value: unknown) => (typeof value === "number" ? format(value) : "–") } : {}),
          backgroundColor: variable("--surface"),
          borderColor: variable("--line-strong"),
          textStyle: { color: variable("--mantine-color-text") },
        },
        dataZoom: [{ type: "inside", zoomOnMouseWheel: "ctrl" }],
        xAxis: {
          type: axis,
          // Slanted names say themselves what they are.
          name: crowded ? "" : xName,
          nameLocation: "middle",
          nameGap: 28,
          scale: true,
          axisLabel: crowded ? { ...words, interval: 0, rotate: 34, width: 96, overflow: "truncate" } : { ...words, hideOverlap: true },
          axisLine: { lineStyle: { color: line } },
          splitLine: { show: false },
        },
        yAxis: { type: "value", name: series.length === 1 ? series[0]?.name : "", nameTextStyle: { ...words, align: "left" }, nameGap: 12, scale: type === "scatter", axisLabel: format ? { ...words, formatter: format } : words, splitLine: { lineStyle: { color: line } } },
        series: series.map((one) => ({
          name: one.name,
          type,
          data: one.points,
          symbolSize: type === "scatter" ? 7 : 5,
          showSymbol: one.points.length < 60,
          barMaxWidth: 42,
          itemStyle: type === "bar" ? { borderRadius: [3, 3, 0, 0] } : undefined,
        })),
      },
      true,
    );
  }, [type, axis, xName, series, format, scheme, colorScheme]);

  return <div ref={place} style={{ height }} role="img" aria-label={label} />;
}
