import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { TableDetail } from "~/api/types";
import { Load } from "~/components/Load";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { EmptyState } from "~/ui/EmptyState";
import { ResultGrid } from "~/ui/grid/ResultGrid";
import { Panel } from "~/ui/Panel";

/** A hundred rows, now or as of a snapshot. */
export function Preview({ table }: { table: TableDetail }) {
  const t = useT();
  const [view, setView] = useView();
  const preview = useQuery(queries.tablePreview(table.namespace, table.table, view.snapshot));
  return (
    <Panel
      flush
      title={t("table.preview")}
      note={view.snapshot ? t("table.as_of", { snapshot: view.snapshot }) : t("table.first_rows")}
      actions={
        view.snapshot ? (
          <Button variant="default" onClick={() => setView({ snapshot: undefined })}>
            {t("table.as_now")}
          </Button>
        ) : (
          <Button variant="default" loading={preview.isFetching} onClick={() => void preview.refetch()}>
            {t("table.refresh")}
          </Button>
        )
      }
    >
      <Load query={preview}>
        {(data) =>
          data.rows.length === 0 ? (
            <EmptyState title={t("sql.no_rows")} text={t("table.empty_hint")} />
          ) : (
            <ResultGrid label={t("table.preview")} columns={data.columns} rows={data.rows} height={560} />
          )
        }
      </Load>
    </Panel>
  );
}
