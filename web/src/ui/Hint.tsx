import { ActionIcon, Tooltip } from "@mantine/core";
import { IconInfoCircle } from "@tabler/icons-react";

/** What a word means: shown when the sign beside it is pointed at, reached by keys or touched. */
export function Hint({ text }: { text: string }) {
  return (
    <Tooltip label={text} multiline maw={280} events={{ hover: true, focus: true, touch: true }}>
      <ActionIcon variant="transparent" color="var(--mantine-color-dimmed)" size={18} aria-label={text}>
        <IconInfoCircle size={13} />
      </ActionIcon>
    </Tooltip>
  );
}
