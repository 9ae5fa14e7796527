import { CopyIcon } from "../CopyIcon";
import { cellText, type CellValue } from "./cells";
import classes from "./ResultGrid.module.css";

/** The whole of a value that is longer than its cell. */
export function CellDetail({ column, value }: { column: string; value: CellValue }) {
  const text = typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : cellText(value);
  return (
    <div className={classes.detail} lang="en" role="status">
      <strong>{column}</strong>
      <pre tabIndex={0}>{text}</pre>
      <CopyIcon text={text} />
    </div>
  );
}
