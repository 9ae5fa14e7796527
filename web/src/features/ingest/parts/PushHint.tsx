import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import { pushCommand } from "~/components/push";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { Panel } from "~/ui/Panel";

/** How anything that can send a request pushes rows to this source. */
export function PushHint({ name }: { name: string }) {
  const t = useT();
  const { data: session } = useQuery(queries.session);
  return (
    <Panel title={t("source.push")} note={t("source.push_note")}>
      <CodeBlock code={pushCommand(window.location.origin, name, session?.authentication_required === true)} label={t("source.push")} />
    </Panel>
  );
}
