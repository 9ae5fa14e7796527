import { When } from "~/components/When";
import { useT } from "~/i18n";
import { DataTable } from "~/ui/DataTable";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { notesOf } from "./notes";

/** What was changed at the source, and what became of it here. */
export function SourceChanges({ properties }: { properties: Record<string, string> }) {
  const t = useT();
  const notes = notesOf(properties);
  if (notes.length === 0) return null;
  return (
    <Panel flush title={t("schema.source_changes")} note={t("schema.source_changes_note")}>
      <DataTable
        label={t("schema.source_changes")}
        rows={notes}
        rowKey={(note) => `${note.at_ms}/${note.change}`}
        columns={[
          { key: "at", header: t("col.at"), cell: (note) => <When at={new Date(note.at_ms).toISOString()} /> },
          { key: "change", header: t("schema.source_change"), cell: (note) => <span lang="en"><Prose text={note.change} /></span> },
          { key: "outcome", header: t("schema.outcome"), grow: true, cell: (note) => <span lang="en"><Prose text={note.outcome} /></span> },
        ]}
      />
    </Panel>
  );
}
