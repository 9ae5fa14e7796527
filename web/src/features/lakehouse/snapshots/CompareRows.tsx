import { Button, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { CHANGES_MAX, tableQueries } from "~/api/lakehouse";
import { ident } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { EmptyState } from "~/ui/EmptyState";
import { ResultGrid } from "~/ui/grid/ResultGrid";
import { CHANGE_TYPES, type Changes, changesOf, changesOfTwo, isUnknownFunction, pairsOf } from "./changes";
import classes from "./Snapshots.module.css";

interface Props {
  table: TableDetail;
  from: string;
  to: string;
  /** The newer came from the older, so that the commits between can be followed. */
  isLine: boolean;
}

/** The rows that changed: as commits tell it, or by comparing both states where they cannot. */
export function CompareRows({ table, from, to, isLine }: Props) {
  const changes = useQuery({ ...tableQueries.changes(table, from, to, table.key), enabled: isLine, select: changesOf });
  if (!isLine || isUnknownFunction(changes.error)) return <CompareStates table={table} from={from} to={to} />;
  if (changes.error) return <ErrorNote error={changes.error} onRetry={() => void changes.refetch()} />;
  return <Load query={changes}>{(data) => <ChangedRows changes={data} />}</Load>;
}

/** Reads both states whole, so only when asked to. */
function CompareStates({ table, from, to }: Omit<Props, "isLine">) {
  const t = useT();
  const [asked, setAsked] = useState(false);
  // A column that one of the states has not cannot be compared.
  const before = useQuery({ ...tableQueries.columns(table, from), enabled: asked });
  const after = useQuery({ ...tableQueries.columns(table, to), enabled: asked });
  const both = before.data && after.data?.filter((name) => before.data.includes(name)).map(ident).join(", ");
  const added = useQuery({ ...tableQueries.only(table, to, from, both ?? ""), enabled: Boolean(both) });
  const deleted = useQuery({ ...tableQueries.only(table, from, to, both ?? ""), enabled: Boolean(both) });
  const error = before.error ?? after.error ?? added.error ?? deleted.error;
  if (error) return <ErrorNote error={error} />;
  if (both === "") return <div className="dim">{t("snapshot.no_common")}</div>;
  if (added.data && deleted.data) return <ChangedRows changes={changesOfTwo(added.data, deleted.data)} />;
  return (
    <div className={classes.ask}>
      <span className="dim">{t("snapshot.states_hint")}</span>
      <Button variant="default" loading={asked} onClick={() => setAsked(true)}>
        {t("snapshot.states")}
      </Button>
    </div>
  );
}

function ChangedRows({ changes }: { changes: Changes }) {
  const t = useT();
  const [view, setView] = useView();
  const pairs = useMemo(() => pairsOf(changes), [changes]);
  const only = CHANGE_TYPES.find((type) => type === view.change);
  const rows = useMemo(() => (only ? changes.rows.filter((row) => row[0] === only) : changes.rows), [changes, only]);
  if (changes.rows.length === 0) return <EmptyState title={t("snapshot.same")} text={t("snapshot.same_hint")} />;
  const kinds = CHANGE_TYPES.filter((type) => changes.counts[type] > 0);
  return (
    <div>
      <div className={classes.changeBar}>
        {kinds.length > 1 && (
          <SegmentedControl
            size="xs"
            aria-label={t("snapshot.change")}
            value={only ?? "all"}
            onChange={(next) => setView({ change: next === "all" ? undefined : next })}
            data={[{ value: "all", label: t("snapshot.change.all") }, ...kinds.map((type) => ({ value: type, label: `${t(`snapshot.change.${type}`)} ${changes.counts[type]}` }))]}
          />
        )}
        {changes.truncated && <span className="dim">{t("snapshot.change_truncated", { count: CHANGES_MAX })}</span>}
      </div>
      <div className={classes.grid}>
        <ResultGrid
          label={t("snapshot.changed_rows")}
          columns={changes.columns}
          rows={rows}
          height={420}
          tone={(row) => (row[0] === "insert" || row[0] === "update_postimage" ? "plus" : "minus")}
          marked={(row, column) => {
            const before = pairs.get(row);
            return before !== undefined && column > 0 && JSON.stringify(before[column]) !== JSON.stringify(row[column]);
          }}
        />
      </div>
    </div>
  );
}
