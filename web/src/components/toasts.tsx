import { CloseButton, Paper, Text } from "@mantine/core";
import { useSyncExternalStore } from "react";
import { useT } from "~/i18n";
import classes from "./toasts.module.css";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
}

const SHOWN_MS = 5000;
const SHOWN_MAX = 3;
let toasts: Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(after: Toast[]): void {
  toasts = after;
  for (const listener of listeners) listener();
}

/** Says in the corner that something was done; what failed is said where it was started. */
export function toast(text: string, bad = false): void {
  const id = next++;
  set([...toasts, { id, text, bad }].slice(-SHOWN_MAX));
  setTimeout(() => set(toasts.filter((shown) => shown.id !== id)), SHOWN_MS);
}

export function Toasts() {
  const t = useT();
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <div className={classes.stack} role="status" aria-live="polite">
      {shown.map((item) => (
        <Paper key={item.id} className={classes.toast} data-bad={item.bad || undefined} shadow="md">
          <Text size="sm">{item.text}</Text>
          <CloseButton
            size="sm"
            aria-label={t("common.close")}
            onClick={() => set(toasts.filter((other) => other.id !== item.id))}
          />
        </Paper>
      ))}
    </div>
  );
}
