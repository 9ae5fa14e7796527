import { useElementSize } from "@mantine/hooks";
import { useId, useState } from "react";
import classes from "./RateChart.module.css";
import { pathOf, scaleMax } from "./scale";

export interface RateSample {
  at_ms: number;
  value: number;
}

interface Props {
  label: string;
  samples: RateSample[];
  /** How much time the width shows; the newest sample is at the right edge. */
  window_ms: number;
  height: number;
  format: (value: number) => string;
  /** Of the marks at the left; `format` unless given. */
  formatAxis?: (value: number) => string;
  /** Of the marks below, which stand at whole minutes. */
  formatMinute: (at_ms: number) => string;
  formatTime: (at_ms: number) => string;
  /** Only the line, for a table cell. */
  bare?: boolean;
}

const LEFT = 52;
const BOTTOM = 20;
const TOP = 8;
const MINUTE_MS = 60_000;
const MARK_PX_MIN = 70;
/** What the words at a cut-off peak take; they stand beside its line. */
const CUT_PX = 60;
const CUT_GAP_PX = 12;
/** The top of the scale at least, so that rest is drawn at the bottom. */
const RATE_MIN = 10;

/** A live line over water. The scale starts at 0, so that heights can be compared. */
export function RateChart({ label, samples, window_ms, height, format, formatAxis = format, formatMinute, formatTime, bare }: Props) {
  const { ref, width } = useElementSize();
  const [pointer, setPointer] = useState<number | null>(null);
  const fill = useId();
  const left = bare ? 0 : LEFT;
  const bottom = bare ? 1 : BOTTOM;
  const plotWidth = Math.max(1, width - left);
  const plotHeight = Math.max(1, height - bottom - TOP);
  const newest = samples.at(-1)?.at_ms ?? 0;
  const x = (at_ms: number) => left + plotWidth * (1 - (newest - at_ms) / window_ms);
  const shown = samples.filter((sample) => newest - sample.at_ms <= window_ms);
  const max = scaleMax(shown.map((sample) => sample.value), RATE_MIN);
  const y = (value: number) => TOP + plotHeight * (1 - Math.min(1, value / max));
  const points = shown.map((sample) => ({ ...sample, x: x(sample.at_ms), y: y(sample.value) }));
  const cut = points.reduce<(typeof points)[number] | undefined>((best, point) => (point.value > max && point.value > (best?.value ?? 0) ? point : best), undefined);
  const line = pathOf(points);
  const area = points.length > 1 ? `${line}L${points.at(-1)?.x},${y(0)}L${points[0]?.x},${y(0)}Z` : "";
  const near =
    pointer === null || points.length === 0
      ? undefined
      : points.reduce((best, point) => (Math.abs(point.x - pointer) < Math.abs(best.x - pointer) ? point : best));

  return (
    <div
      ref={ref}
      className={classes.chart}
      style={{ height }}
      onPointerMove={(event) => setPointer(event.clientX - event.currentTarget.getBoundingClientRect().left)}
      onPointerLeave={() => setPointer(null)}
    >
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={label}>
          <defs>
            <linearGradient id={fill} x1="0" y1="0" x2="0" y2="1">
              <stop offset="0" stopColor="var(--water-1)" stopOpacity="0.3" />
              <stop offset="1" stopColor="var(--water-2)" stopOpacity="0.06" />
            </linearGradient>
          </defs>
          {!bare &&
            [0, 0.5, 1].map((part) => (
              <g key={part} className={classes.grid}>
                <line x1={left} x2={width} y1={y(max * part)} y2={y(max * part)} />
                <text x={left - 8} y={y(max * part) + 4} textAnchor="end">
                  {formatAxis(max * part)}
                </text>
              </g>
            ))}
          {!bare && points.length > 1 && <Times left={left} width={width} y={height - 5} x={x} newest={newest} window_ms={window_ms} format={formatMinute} />}
          {area && <path d={area} fill={`url(#${fill})`} />}
          {line && <path d={line} className={classes.line} />}
          {cut && !bare && (
            <text x={cut.x > left + CUT_PX ? cut.x - CUT_GAP_PX : cut.x + CUT_GAP_PX} y={TOP + 12} textAnchor={cut.x > left + CUT_PX ? "end" : "start"} className={classes.cut}>
              ↑ {format(cut.value)}
            </text>
          )}
          {near && <circle cx={near.x} cy={near.y} r={3.5} className={classes.point} />}
        </svg>
      )}
      {near && (
        <div className={classes.tip} style={{ left: Math.min(Math.max(near.x, 60), width - 60), top: Math.max(0, near.y - 44) }}>
          <strong>{format(near.value)}</strong>
          <span>{formatTime(near.at_ms)}</span>
        </div>
      )}
    </div>
  );
}

interface TimesProps {
  left: number;
  width: number;
  x: (at_ms: number) => number;
  y: number;
  newest: number;
  window_ms: number;
  format: (at_ms: number) => string;
}

/** Whole minutes; every second one where it is narrow. */
function Times({ left, width, x, y, newest, window_ms, format }: TimesProps) {
  const step = (width - left) / (window_ms / MINUTE_MS) > MARK_PX_MIN ? MINUTE_MS : 2 * MINUTE_MS;
  const marks: number[] = [];
  for (let at_ms = Math.floor(newest / step) * step; at_ms > newest - window_ms; at_ms -= step) marks.push(at_ms);
  const half = MARK_PX_MIN / 4;
  return (
    <g className={classes.grid}>
      {marks
        .filter((at_ms) => x(at_ms) > left + half && x(at_ms) < width - half)
        .map((at_ms) => (
          <text key={at_ms} x={x(at_ms)} y={y} textAnchor="middle">
            {format(at_ms)}
          </text>
        ))}
    </g>
  );
}
