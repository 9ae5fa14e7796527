import type { SourceState, TableSummary } from "~/api/types";
import { useT } from "~/i18n";
import { StateBadge } from "~/ui/StateBadge";
import { sourceTone, sourceWord, tableTone, tableWord } from "./states";

export function SourceStateBadge({ state }: { state: SourceState }) {
  const t = useT();
  const moving = state === "streaming" || state === "snapshot" || state === "starting";
  return <StateBadge tone={sourceTone[state] ?? "quiet"} label={t(sourceWord(state))} pulse={moving} />;
}

export function TableStateBadge({ state }: { state: TableSummary["state"] }) {
  const t = useT();
  return <StateBadge tone={tableTone[state] ?? "quiet"} label={t(tableWord(state))} />;
}
