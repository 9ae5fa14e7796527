import { type KeyboardEvent, type PointerEvent, useRef } from "react";
import { useT } from "~/i18n";
import classes from "./ResultGrid.module.css";

export const COLUMN_PX_MIN = 48;
export const COLUMN_PX_MAX = 1200;
const KEY_PX = 16;

const within = (width: number) => Math.round(Math.min(COLUMN_PX_MAX, Math.max(COLUMN_PX_MIN, width)));

interface Props {
  name: string;
  width: number;
  /** `undefined` gives the column the width of its content again. */
  onResize: (width: number | undefined) => void;
}

/** The edge of a column: dragged, or moved by arrow keys; a double click fits the column to its content. */
export function ColumnHandle({ name, width, onResize }: Props) {
  const t = useT();
  const from = useRef<{ x: number; width: number } | null>(null);
  const grab = (event: PointerEvent<HTMLSpanElement>) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    event.currentTarget.focus();
    from.current = { x: event.clientX, width };
  };
  const move = (event: PointerEvent<HTMLSpanElement>) => {
    if (from.current) onResize(within(from.current.width + event.clientX - from.current.x));
  };
  const drop = () => {
    from.current = null;
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? KEY_PX : event.key === "ArrowLeft" ? -KEY_PX : 0;
    if (step === 0) return;
    event.preventDefault();
    event.stopPropagation();
    onResize(within(width + step));
  };
  return (
    <span
      role="separator"
      aria-orientation="vertical"
      aria-label={t("grid.width", { column: name })}
      aria-valuenow={width}
      aria-valuemin={COLUMN_PX_MIN}
      aria-valuemax={COLUMN_PX_MAX}
      tabIndex={0}
      className={classes.handle}
      onPointerDown={grab}
      onPointerMove={move}
      onPointerUp={drop}
      onPointerCancel={drop}
      // A selected text would be dragged away instead of the edge.
      onMouseDown={(event) => event.preventDefault()}
      onDoubleClick={() => onResize(undefined)}
      onKeyDown={onKey}
    />
  );
}
