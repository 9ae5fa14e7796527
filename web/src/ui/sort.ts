/** Rows in the order of a value; what is unknown comes last in both directions. The order of equals is kept. */
export function sortRows<Row>(rows: Row[], by: (row: Row) => string | number | null, descending: boolean): Row[] {
  const sign = descending ? -1 : 1;
  return rows
    .map((row) => ({ row, value: by(row) }))
    .sort((a, b) => {
      if (a.value === null || b.value === null) return Number(a.value === null) - Number(b.value === null);
      if (typeof a.value === "number" && typeof b.value === "number") return sign * (a.value - b.value);
      return sign * String(a.value).localeCompare(String(b.value), undefined, { numeric: true });
    })
    .map((pair) => pair.row);
}
