import { useEffect, useEffectEvent } from "react";
import { paths } from "~/components/paths";
import type { MessageKey } from "~/i18n";

/** Pages by the letter that follows `g`. */
export const GO: { key: string; label: MessageKey; href: string }[] = [
  { key: "o", label: "nav.overview", href: paths.overview },
  { key: "s", label: "nav.sources", href: paths.sources() },
  { key: "t", label: "nav.topics", href: paths.topics() },
  { key: "b", label: "nav.tables", href: paths.tables() },
  { key: "q", label: "nav.sql", href: paths.sql() },
  { key: "r", label: "nav.resources", href: paths.resources() },
  { key: "a", label: "nav.access", href: paths.access() },
];

export type Shortcut = { type: "go"; href: string } | { type: "search" } | { type: "help" };

/** How long a `g` waits for its letter. */
const WAIT_MS = 1500;

/** What a key does after the one before it; `prefix` asks to wait for the next one. */
export function shortcutOf(key: string, afterG: boolean): Shortcut | "prefix" | null {
  if (afterG) {
    const page = GO.find((one) => one.key === key);
    return page ? { type: "go", href: page.href } : null;
  }
  if (key === "g") return "prefix";
  if (key === "/") return { type: "search" };
  if (key === "?") return { type: "help" };
  return null;
}

/** Whether keys are text where they are typed, or belong to a dialog. */
export function takesKeys(element: Element | null): boolean {
  return element?.closest("input, textarea, select, [contenteditable=true], [role=dialog], [role=menu], [role=listbox]") != null;
}

/** Listens for shortcuts while the console is open. */
export function useShortcuts(act: (shortcut: Shortcut) => void): void {
  const onShortcut = useEffectEvent(act);
  useEffect(() => {
    let g_at = Number.NEGATIVE_INFINITY;
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || takesKeys(document.activeElement)) return;
      const found = shortcutOf(event.key, event.timeStamp - g_at < WAIT_MS);
      g_at = found === "prefix" ? event.timeStamp : Number.NEGATIVE_INFINITY;
      if (found === null || found === "prefix") return;
      event.preventDefault();
      onShortcut(found);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}
