import type { ReactNode } from "react";
import { Hint } from "./Hint";
import classes from "./Facts.module.css";

export interface Fact {
  label: string;
  /** What the name means, where it does not say so itself. */
  hint?: string;
  value: ReactNode;
}

/** Names and values side by side. */
export function Facts({ items, stacked }: { items: Fact[]; stacked?: boolean }) {
  return (
    <dl className={stacked ? classes.stacked : classes.facts}>
      {items.map((item) => (
        <div key={item.label}>
          <dt className={item.hint && classes.hinted}>
            {item.label}
            {item.hint && <Hint text={item.hint} />}
          </dt>
          <dd>{item.value}</dd>
        </div>
      ))}
    </dl>
  );
}
