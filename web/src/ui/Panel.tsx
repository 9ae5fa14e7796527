import type { ReactNode } from "react";
import classes from "./Panel.module.css";

interface Props {
  title?: ReactNode;
  note?: ReactNode;
  actions?: ReactNode;
  /** Without inner space, for a table that fills it. */
  flush?: boolean;
  children: ReactNode;
}

/** A titled surface. */
export function Panel({ title, note, actions, flush, children }: Props) {
  return (
    <section className={classes.panel}>
      {(title || actions) && (
        <header className={classes.header}>
          <h2 className={classes.title}>{title}</h2>
          {note && <span className={classes.note}>{note}</span>}
          {actions && <div className={classes.actions}>{actions}</div>}
        </header>
      )}
      <div className={flush ? classes.flush : classes.body}>{children}</div>
    </section>
  );
}
