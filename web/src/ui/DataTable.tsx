import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { type ReactNode, useState } from "react";
import { useT } from "~/i18n";
import { sortRows } from "./sort";
import classes from "./DataTable.module.css";

export interface DataColumn<Row> {
  key: string;
  header: string;
  cell: (row: Row) => ReactNode;
  /** What to sort by; a column without it cannot be sorted. */
  sort?: (row: Row) => string | number | null;
  numeric?: boolean;
  /** Takes the space that is left. */
  grow?: boolean;
  /** Pixels that a long text keeps beside a growing column. */
  width_min?: number;
  /** Stays in sight at the right where the table is wider than its place. */
  pinned?: boolean;
}

interface Props<Row> {
  label: string;
  columns: DataColumn<Row>[];
  rows: Row[];
  rowKey: (row: Row) => string;
  /** `key` ascending, `-key` descending. */
  sort?: string | undefined;
  onSort?: (sort: string) => void;
  empty?: ReactNode;
  /** Draws so many rows at first, and as many more each time they are asked for. */
  rowsShown?: number;
}

function nextSort(key: string, sort: string | undefined, numeric: boolean | undefined): string {
  if (sort === key) return `-${key}`;
  if (sort === `-${key}`) return key;
  return numeric ? `-${key}` : key;
}

/** A list. On a phone each row becomes a card. */
export function DataTable<Row>({ label, columns, rows, rowKey, sort, onSort, empty, rowsShown }: Props<Row>) {
  const t = useT();
  const [pages, setPages] = useState(1);
  const descending = sort?.startsWith("-") ?? false;
  const sortKey = descending ? sort?.slice(1) : sort;
  const by = columns.find((column) => column.key === sortKey)?.sort;
  const grows = columns.some((column) => column.grow);
  const all = by ? sortRows(rows, by, descending) : rows;
  const ordered = rowsShown ? all.slice(0, pages * rowsShown) : all;
  if (rows.length === 0 && empty) return <>{empty}</>;

  return (
    <div className={classes.scroll} tabIndex={0} role="region" aria-label={label}>
      <table className={classes.table} role="table" aria-label={label}>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((column) => {
              const active = column.key === sortKey;
              const direction = active ? (descending ? "descending" : "ascending") : undefined;
              return (
                <th
                  key={column.key}
                  role="columnheader"
                  scope="col"
                  data-numeric={column.numeric || undefined}
                  data-grow={column.grow || undefined}
                  data-pinned={column.pinned || undefined}
                  aria-sort={direction}
                >
                  {column.sort && onSort ? (
                    <button
                      type="button"
                      className={classes.sort}
                      onClick={() => onSort(nextSort(column.key, sort, column.numeric))}
                      title={t("table.sort_by", { column: column.header })}
                    >
                      {column.header}
                      {active && (descending ? <IconArrowDown size={13} /> : <IconArrowUp size={13} />)}
                    </button>
                  ) : (
                    column.header
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {ordered.map((row) => (
            <tr key={rowKey(row)} role="row">
              {columns.map((column) => (
                <td key={column.key} role="cell" data-label={column.header} data-numeric={column.numeric || undefined} data-tight={(grows && !column.grow && !column.width_min) || undefined} data-pinned={column.pinned || undefined}>
                  {column.width_min && <span className={classes.keep} style={{ width: column.width_min }} />}
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {ordered.length < all.length && (
        <div className={classes.more}>
          <span>{t("grid.shown", { shown: ordered.length, all: all.length })}</span>
          <button type="button" className={classes.moreButton} onClick={() => setPages(pages + 1)}>
            {t("grid.more")}
          </button>
        </div>
      )}
    </div>
  );
}
