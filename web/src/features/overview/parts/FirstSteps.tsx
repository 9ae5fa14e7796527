import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { Overview } from "~/api/types";
import { paths } from "~/components/paths";
import { applySourceCommand, pushCommand } from "~/components/push";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { Things } from "./Things";

/** Needs no table, so that it answers in an empty project, too. */
const FIRST_QUERY = "SELECT value, value * value AS square\nFROM generate_series(1, 10)";
const NEW_SOURCE = "inbox";

/** What to do in a project without rows; gone as soon as there is a table. */
export function FirstSteps({ overview }: { overview: Overview }) {
  const t = useT();
  const { data: session } = useQuery(queries.session);
  const signedIn = session?.authentication_required === true;
  const push = overview.sources_list.find((source) => source.type === "http_push");
  const command = pushCommand(window.location.origin, push?.name ?? NEW_SOURCE, signedIn);
  const things = [
    {
      title: t("first.push"),
      text: push ? t("first.push_text", { name: push.name }) : t("first.push_new_text", { name: NEW_SOURCE }),
      code: push ? command : `${applySourceCommand(window.location.origin, NEW_SOURCE, signedIn)}\n${command}`,
      verb: push ? t("first.push_verb", { name: push.name }) : t("first.push_new_verb"),
      href: push ? paths.source(push.name) : paths.newSource({ type: "http_push" }),
    },
    { title: t("first.add"), text: t("first.add_text"), verb: t("three.add_verb"), href: paths.newSource() },
    { title: t("first.query"), text: t("first.query_text"), verb: t("first.query_verb"), href: paths.sql({ q: FIRST_QUERY, run: "1" }) },
  ];
  return (
    <Panel flush title={t("first.title")}>
      <Things things={things} />
    </Panel>
  );
}
