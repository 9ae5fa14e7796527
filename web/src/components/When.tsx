import { useEffect, useReducer } from "react";
import { useFormat } from "~/i18n/format";

const TICK_MS = 5000;

/** A time as its distance from now; the exact time is in the title. */
export function When({ at, empty = "–" }: { at: string | null | undefined; empty?: string }) {
  const format = useFormat();
  const [, tick] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const timer = setInterval(tick, TICK_MS);
    return () => clearInterval(timer);
  }, []);
  if (!at) return <span className="dim">{empty}</span>;
  return (
    <time dateTime={at} title={format.date(at)} className="nowrap">
      {format.ago(at)}
    </time>
  );
}
