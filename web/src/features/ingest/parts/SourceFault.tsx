import { Text } from "@mantine/core";
import type { SourceSummary } from "~/api/types";
import { Note } from "~/components/ErrorNote";
import { useT } from "~/i18n";
import { Prose } from "~/ui/Prose";
import { SourceCommands } from "./SourceCommands";

export const isTroubled = (source: SourceSummary): boolean => source.state === "failed" || source.state === "backing_off";

/** Why a source stands, what to do, and the button that does it. */
export function SourceFault({ source, short }: { source: SourceSummary; short?: boolean }) {
  const t = useT();
  const troubled = isTroubled(source);
  if (!troubled && !source.message) return null;
  if (short) {
    return source.message ? (
      <Text size="xs" c={troubled ? "var(--bad)" : "dimmed"} lineClamp={2} lang="en">
        <Prose text={source.message} />
      </Text>
    ) : null;
  }
  if (!troubled) return null;
  return (
    <Note
      tone={source.state === "failed" ? "bad" : "warn"}
      message={source.message ? <span lang="en"><Prose text={source.message} /></span> : t("source.no_message")}
      hint={source.hint ? <span lang="en"><Prose text={source.hint} /></span> : undefined}
      action={<SourceCommands source={source} only="restart" />}
    />
  );
}
