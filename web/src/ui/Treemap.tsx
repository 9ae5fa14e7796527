import { useComputedColorScheme } from "@mantine/core";
import { TreemapChart } from "echarts/charts";
import { TooltipComponent } from "echarts/components";
import { type ECharts, init, use as register } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useRef } from "react";

register([TreemapChart, TooltipComponent, CanvasRenderer]);

export interface Tile {
  id: string;
  name: string;
  /** The area. */
  value: number;
  /** From 0 to 1, from quiet to loud. */
  shade?: number;
  /** What is said when it is pointed at. */
  lines?: string[];
  children?: Tile[];
}

interface Props {
  label: string;
  tiles: Tile[];
  height: number;
  onPick: (id: string) => void;
}

const variable = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** Above this share the shade is the loudest; a file of which a third is deleted is as worn as any. */
const LOUD = 0.33;

function mix(from: string, to: string, share: number): string {
  const parts = (hex: string) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  const [a, b] = [parts(from), parts(to)];
  return `#${a.map((value, at) => Math.round(value + ((b[at] ?? 0) - value) * share).toString(16).padStart(2, "0")).join("")}`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** Areas within areas. The caller loads this module when it is needed, and lists the same in words. */
export default function Treemap({ label, tiles, height, onPick }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<ECharts | null>(null);
  const pick = useRef(onPick);
  const scheme = useComputedColorScheme("light");

  useEffect(() => {
    pick.current = onPick;
  }, [onPick]);

  useEffect(() => {
    if (!place.current) return;
    const made = init(place.current);
    chart.current = made;
    made.on("click", (event) => {
      const { id } = event.data as { id?: string };
      if (id) pick.current(id);
    });
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => {
    const [quiet, middle, loud] = ["--tile-0", "--tile-1", "--tile-2"].map(variable) as [string, string, string];
    const colour = (shade: number) => {
      const share = Math.min(1, shade / LOUD);
      return share < 0.5 ? mix(quiet, middle, share * 2) : mix(middle, loud, share * 2 - 1);
    };
    const words = { color: variable("--mantine-color-text"), fontFamily: variable("--mantine-font-family") };
    const node = (tile: Tile): object => ({
      id: tile.id,
      name: tile.name,
      value: tile.value,
      lines: tile.lines,
      ...(tile.shade === undefined ? {} : { itemStyle: { color: colour(tile.shade) } }),
      ...(tile.children ? { children: tile.children.map(node) } : {}),
    });
    chart.current?.setOption(
      {
        textStyle: words,
        animation: false,
        tooltip: {
          backgroundColor: variable("--surface"),
          borderColor: variable("--line-strong"),
          textStyle: words,
          confine: true,
          formatter: ({ data }: { data: { name: string; lines?: string[] } }) => [`<strong>${escape(data.name)}</strong>`, ...(data.lines ?? []).map(escape)].join("<br>"),
        },
        series: [
          {
            type: "treemap",
            left: 0,
            right: 0,
            top: 0,
            bottom: 0,
            roam: false,
            nodeClick: false,
            breadcrumb: { show: false },
            // Below this an area is a line that nobody can see; the list has it.
            visibleMin: 3,
            label: { show: false },
            upperLabel: { show: tiles.length > 1, height: 20, color: words.color, fontSize: 11, overflow: "truncate" },
            itemStyle: { borderColor: variable("--surface"), borderWidth: 1, gapWidth: 1 },
            levels: [
              { itemStyle: { borderWidth: 0, gapWidth: 3 }, upperLabel: { show: false } },
              { itemStyle: { borderColor: variable("--surface-sunken"), borderWidth: 2, gapWidth: 1 } },
            ],
            data: tiles.map(node),
          },
        ],
      },
      true,
    );
  }, [tiles, scheme]);

  return <div ref={place} style={{ height }} role="img" aria-label={label} />;
}
