import { CopyIcon } from "./CopyIcon";
import classes from "./CodeBlock.module.css";

/** Text to read or copy. */
export function CodeBlock({ code, label, tall }: { code: string; label?: string; tall?: boolean }) {
  return (
    <div className={classes.block} data-tall={tall || undefined}>
      <pre tabIndex={0} aria-label={label}>
        {code}
      </pre>
      <span className={classes.copy}>
        <CopyIcon text={code} />
      </span>
    </div>
  );
}
