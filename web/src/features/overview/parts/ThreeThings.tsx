import { CloseButton } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import type { Overview } from "~/api/types";
import { paths } from "~/components/paths";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { Things } from "./Things";

const DEMO_TABLE = "nyc.flights";

/** The table to look at first: the demo's flights, else the largest. */
function firstTable(overview: Overview): string | undefined {
  const tables = [...overview.tables_list].sort((a, b) => b.rows - a.rows);
  return (tables.find((table) => table.name === DEMO_TABLE) ?? tables[0])?.name;
}

function firstQuery(table: string): string {
  if (table !== DEMO_TABLE) return `SELECT *\nFROM ${table}\nLIMIT 100`;
  return [
    "SELECT origin, count(*) AS flights, round(avg(dep_delay), 1) AS delay_minutes",
    "FROM nyc.flights",
    "GROUP BY origin",
    "ORDER BY delay_minutes DESC",
  ].join("\n");
}

/** What to try on the first visit; goes away for good when closed. */
export function ThreeThings({ overview }: { overview: Overview }) {
  const t = useT();
  const [closed, setClosed] = useLocalStorage({ key: "tarn-three-things", defaultValue: "", getInitialValueInEffect: false });
  if (closed) return null;
  const table = firstTable(overview);
  const source = overview.sources_list.find((one) => one.topics.length > 0);
  const topic = source?.topics.find((name) => table && name.endsWith(table.slice(table.indexOf(".")))) ?? source?.topics[0];
  const things = [
    {
      title: t("three.query"),
      text: table === DEMO_TABLE ? t("three.query_text") : t("three.query_table_text"),
      verb: t("three.query_verb"),
      href: paths.sql(table ? { q: firstQuery(table), run: "1" } : {}),
    },
    {
      title: t("three.peek"),
      text: t("three.peek_text"),
      verb: t("three.peek_verb"),
      href: topic ? paths.topic(topic) : paths.topics(),
    },
    {
      title: t("three.add"),
      text: t("three.add_text"),
      verb: t("three.add_verb"),
      href: paths.newSource({ type: "postgres_cdc" }),
    },
  ];
  return (
    <Panel
      flush
      title={t("three.title")}
      actions={<CloseButton size="sm" aria-label={t("three.close")} onClick={() => setClosed("closed")} />}
    >
      <Things things={things} />
    </Panel>
  );
}
