import classes from "./StateBadge.module.css";

export type Tone = "ok" | "warn" | "bad" | "info" | "quiet";

/** A state as a word with a dot, so that it is read without its colour. */
export function StateBadge({ tone, label, pulse }: { tone: Tone; label: string; pulse?: boolean }) {
  return (
    <span className={classes.badge} data-tone={tone}>
      <span className={classes.dot} data-pulse={pulse || undefined} aria-hidden />
      {label}
    </span>
  );
}
