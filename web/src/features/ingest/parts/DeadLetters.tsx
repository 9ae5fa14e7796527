import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import { Load } from "~/components/Load";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { Prose } from "~/ui/Prose";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";

/** Records that could not be used, with the reason. */
export function DeadLetters({ name }: { name: string }) {
  const t = useT();
  const letters = useQuery(queries.deadLetters(name));
  return (
    <Panel
      flush
      title={t("col.dead_letters")}
      note={t("source.dead_note")}
      actions={letters.data?.length ? <TextLink href={paths.topic(`${name}.dead_letters`)}>{t("source.dead_topic")}</TextLink> : undefined}
    >
      <Load query={letters}>
        {(items) => (
          <DataTable
            label={t("col.dead_letters")}
            rows={items}
            rowKey={(letter) => String(letter.offset)}
            columns={[
              { key: "at", header: t("col.at"), cell: (letter) => <When at={letter.at} /> },
              { key: "table", header: t("source.table"), cell: (letter) => letter.table ?? "–" },
              { key: "reason", header: t("source.reason"), width_min: 220, cell: (letter) => <span lang="en"><Prose text={letter.reason} /></span> },
              { key: "place", header: t("source.place"), cell: (letter) => <span className="mono">{letter.place}</span> },
              { key: "record", header: t("source.record"), grow: true, cell: (letter) => <span className="mono" lang="en">{letter.record}</span> },
            ]}
            empty={<EmptyState title={t("source.no_dead")} text={t("source.no_dead_hint")} />}
          />
        )}
      </Load>
    </Panel>
  );
}
