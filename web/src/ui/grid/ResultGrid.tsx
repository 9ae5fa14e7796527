import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useMemo, useRef, useState } from "react";
import { useT } from "~/i18n";
import { copyText } from "../copy";
import { CellDetail } from "./CellDetail";
import { cellText, type CellValue, columnWidths, isCut, isNumericType, shownText, sortCells } from "./cells";
import { ColumnHandle } from "./ColumnHandle";
import classes from "./ResultGrid.module.css";

const ROW_PX = 29;
/** Of a row's number. */
const DIGIT_PX = 8;

interface Props {
  label: string;
  columns: { name: string; type: string }[];
  rows: CellValue[][];
  /** Height in pixels at most; fewer rows take less. */
  height: number;
  /** Whether a row came or went, where rows of two states are shown together. */
  tone?: (row: CellValue[]) => "plus" | "minus" | undefined;
  /** Whether a cell is what makes its row worth showing. */
  marked?: (row: CellValue[], column: number) => boolean;
}

interface Place {
  row: number;
  column: number;
}

/** Any number of rows; only those in sight are drawn. Arrow keys move, Ctrl+C copies a cell. */
export function ResultGrid({ label, columns, rows, height, tone, marked }: Props) {
  const t = useT();
  const box = useRef<HTMLDivElement>(null);
  const [sort, setSort] = useState<{ column: number; descending: boolean } | null>(null);
  const [active, setActive] = useState<Place | null>(null);
  const fitting = useMemo(() => columnWidths(columns, rows), [columns, rows]);
  /** Widths that were chosen, by place. */
  const [chosen, setChosen] = useState<Record<number, number | undefined>>({});
  const widths = fitting.map((width, index) => chosen[index] ?? width);
  const sortColumn = sort ? columns[sort.column] : undefined;
  const ordered = useMemo(
    () => (sort && sortColumn ? sortCells(rows, sort.column, isNumericType(sortColumn.type), sort.descending) : rows),
    [rows, sort, sortColumn],
  );
  const virtual = useVirtualizer({
    count: ordered.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 12,
  });
  const index_px = Math.max(56, 24 + String(ordered.length).length * DIGIT_PX);
  const template = `${index_px}px ${widths.map((width) => `${width}px`).join(" ")}`;
  const width = index_px + widths.reduce((sum, one) => sum + one, 0);

  const cycle = (column: number) =>
    setSort((before) =>
      before?.column !== column ? { column, descending: false } : before.descending ? null : { column, descending: true },
    );
  const onKey = (event: KeyboardEvent) => {
    const at = active ?? { row: 0, column: 0 };
    const page = Math.max(1, Math.floor(height / ROW_PX) - 2);
    const moves: Record<string, Place> = {
      ArrowDown: { row: at.row + (active ? 1 : 0), column: at.column },
      ArrowUp: { row: at.row - 1, column: at.column },
      ArrowRight: { row: at.row, column: at.column + 1 },
      ArrowLeft: { row: at.row, column: at.column - 1 },
      PageDown: { row: at.row + page, column: at.column },
      PageUp: { row: at.row - page, column: at.column },
      Home: { row: event.ctrlKey ? 0 : at.row, column: 0 },
      End: { row: event.ctrlKey ? ordered.length - 1 : at.row, column: columns.length - 1 },
    };
    if (event.key === "c" && (event.ctrlKey || event.metaKey) && active && window.getSelection()?.isCollapsed !== false) {
      void copyText(cellText(ordered[active.row]?.[active.column]));
      return;
    }
    const move = moves[event.key];
    if (!move || event.target !== event.currentTarget) return;
    event.preventDefault();
    const next = {
      row: Math.min(ordered.length - 1, Math.max(0, move.row)),
      column: Math.min(columns.length - 1, Math.max(0, move.column)),
    };
    setActive(next);
    virtual.scrollToIndex(next.row);
  };

  const shown = active ? (ordered[active.row]?.[active.column] ?? null) : null;
  const detailed = active && columns[active.column] && isCut(cellText(shown), widths[active.column] ?? 0) ? columns[active.column] : undefined;

  return (
    <>
      <div
        ref={box}
        className={classes.grid}
        style={{ maxHeight: height }}
        role="grid"
        aria-label={label}
        aria-rowcount={ordered.length + 1}
        aria-colcount={columns.length + 1}
        aria-activedescendant={active ? `cell-${active.row}-${active.column}` : undefined}
        tabIndex={0}
        onKeyDown={onKey}
      >
        <div role="rowgroup" className={classes.head} style={{ width }}>
          <div role="row" className={classes.row} style={{ gridTemplateColumns: template }} aria-rowindex={1}>
            <span role="columnheader" className={classes.corner}>
              <span className="visually-hidden">{t("grid.row")}</span>
            </span>
            {columns.map((column, index) => (
              <span
                key={index}
                role="columnheader"
                data-numeric={isNumericType(column.type) || undefined}
                aria-sort={sort?.column === index ? (sort.descending ? "descending" : "ascending") : undefined}
              >
                <button type="button" onClick={() => cycle(index)} title={t("table.sort_by", { column: column.name })} lang="en">
                  <strong>
                    {column.name}
                    {sort?.column === index && (sort.descending ? <IconArrowDown size={12} /> : <IconArrowUp size={12} />)}
                  </strong>
                  <small>{column.type}</small>
                </button>
                <ColumnHandle name={column.name} width={widths[index] ?? 0} onResize={(width) => setChosen((before) => ({ ...before, [index]: width }))} />
              </span>
            ))}
          </div>
        </div>
        <div role="rowgroup" style={{ height: virtual.getTotalSize(), width, minWidth: "100%", position: "relative" }}>
          {virtual.getVirtualItems().map((item) => {
            const row = ordered[item.index] ?? [];
            return (
              <div
                key={item.key}
                role="row"
                aria-rowindex={item.index + 2}
                className={`${classes.row} ${classes.line}`}
                data-tone={tone?.(row)}
                style={{ gridTemplateColumns: template, transform: `translateY(${item.start}px)`, height: ROW_PX }}
              >
                <span role="rowheader" className={classes.index}>
                  {item.index + 1}
                </span>
                {columns.map((column, index) => {
                  const value = row[index];
                  const here = active?.row === item.index && active.column === index;
                  return (
                    <span
                      key={index}
                      id={`cell-${item.index}-${index}`}
                      role="gridcell"
                      aria-selected={here}
                      lang="en"
                      data-numeric={isNumericType(column.type) || undefined}
                      data-null={value === null || undefined}
                      data-marked={marked?.(row, index) || undefined}
                      title={cellText(value)}
                      onClick={() => setActive({ row: item.index, column: index })}
                    >
                      {value === null ? "NULL" : shownText(value, column.type)}
                    </span>
                  );
                })}
              </div>
            );
          })}
        </div>
      </div>
      {detailed && <CellDetail column={detailed.name} value={shown} />}
    </>
  );
}
