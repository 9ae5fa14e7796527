import { useElementSize } from "@mantine/hooks";
import type { Snapshot } from "~/api/types";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { figuresOf } from "./figures";
import type { Ref } from "./refs";
import classes from "./SnapshotStrip.module.css";

interface Props {
  snapshots: Snapshot[];
  /** Rows at the top of the scale. */
  most: number;
  refs: Ref[];
  current: string | null;
  pair: string[];
  onOpen: (id: string) => void;
}

const HEIGHT = 128;
const TOP = 22;
const BOTTOM = 20;
const BAR_MAX = 30;
const MARK_PX = 110;

/** Commits side by side, the oldest at the left: rows that came above the line, rows that went below. The list says the same in words. */
export function SnapshotStrip({ snapshots, most, refs, current, pair, onOpen }: Props) {
  const t = useT();
  const format = useFormat();
  const { ref, width } = useElementSize();
  const ordered = snapshots.toReversed();
  const step = Math.min(92, width / Math.max(1, ordered.length));
  const bar = Math.max(1.5, Math.min(BAR_MAX, step * 0.72));
  const middle = TOP + (HEIGHT - TOP - BOTTOM) * 0.6;
  const up = (rows: number) => Math.min(1, rows / most) * (middle - TOP);
  const down = (rows: number) => Math.min(1, rows / most) * (HEIGHT - BOTTOM - middle);
  const every = Math.max(1, Math.ceil(MARK_PX / step));
  return (
    <div ref={ref} className={classes.strip} style={{ height: HEIGHT }} lang="en">
      {width > 0 && (
        <svg width={width} height={HEIGHT} role="img" aria-label={t("snapshot.strip")}>
          <line x1={0} x2={Math.min(width, step * ordered.length)} y1={middle} y2={middle} className={classes.axis} />
          {ordered.map((snapshot, index) => {
            const x = index * step + step / 2;
            const figures = figuresOf(snapshot);
            const names = refs.filter((one) => one.snapshot_id === snapshot.id);
            return (
              <g key={snapshot.id} className={classes.commit} data-chosen={pair.includes(snapshot.id) || undefined} onClick={() => onOpen(snapshot.id)}>
                <title>{`${format.date(snapshot.at)}  +${format.count(figures.added_rows)} −${format.count(figures.deleted_rows)}`}</title>
                <rect x={index * step} y={0} width={step} height={HEIGHT - BOTTOM} className={classes.hit} />
                <rect x={x - bar / 2} width={bar} y={middle - up(figures.added_rows)} height={up(figures.added_rows)} rx={1.5} className={classes.added} />
                <rect x={x - bar / 2} width={bar} y={middle} height={down(figures.deleted_rows)} rx={1.5} className={classes.deleted} />
                <circle cx={x} cy={middle} r={snapshot.id === current ? 5 : Math.min(3, bar / 2 + 0.5)} className={classes.point} data-current={snapshot.id === current || undefined} data-rewritten={figures.rewritten || undefined} />
                {names.length > 0 && <path d={`M${x},${TOP - 4}v-14h11l-3,4l3,4h-11`} className={classes.flag} />}
                {index % every === 0 && (
                  <text x={index === 0 ? index * step : x} y={HEIGHT - 5} textAnchor={index === 0 ? "start" : "middle"} className={classes.mark}>
                    {x + MARK_PX / 2 < width || index === 0 ? format.time(snapshot.at) : ""}
                  </text>
                )}
              </g>
            );
          })}
        </svg>
      )}
    </div>
  );
}
