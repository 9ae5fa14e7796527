import type { ReactNode } from "react";
import type { Overview } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { paths } from "~/components/paths";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import classes from "./Overview.module.css";

interface FigureProps {
  label: string;
  value: ReactNode;
  note: string;
  href: string;
}

function Figure({ label, value, note, href }: FigureProps) {
  const outside = href.startsWith("/metrics");
  return (
    <AppLink href={href} className={classes.figure} {...(outside ? { target: "_blank", rel: "noreferrer" } : {})}>
      <span>{label}</span>
      <strong>{value}</strong>
      <span>{note}</span>
    </AppLink>
  );
}

/** The figures that matter; each leads to what it was counted from. */
export function Figures({ overview }: { overview: Overview }) {
  const t = useT();
  const format = useFormat();
  return (
    <nav className={classes.figures} aria-label={t("overview.figures")}>
      <Figure
        label={t("figure.rows_total")}
        value={format.compact(overview.rows_total)}
        note={t("figure.rows_total_note", { count: overview.sources_list.reduce((sum, s) => sum + s.topics.length, 0) })}
        href={paths.topics({ sort: "-rows" })}
      />
      <Figure
        label={t("figure.freshness")}
        value={overview.freshness_ms_max === null ? "–" : format.duration(overview.freshness_ms_max)}
        note={t("figure.freshness_note")}
        href={paths.tables({ sort: "-freshness" })}
      />
      <Figure
        label={t("figure.queries")}
        value={format.count(overview.queries_per_s)}
        note={t("figure.queries_note")}
        href={paths.sql({ side: "history" })}
      />
      <Figure
        label={t("figure.p99")}
        value={overview.query_p99_ms > 0 ? format.duration(overview.query_p99_ms) : "–"}
        note={overview.query_p99_ms > 0 ? t("figure.p99_note", { p50: format.duration(overview.query_p50_ms) }) : t("figure.p99_none")}
        href={paths.sql({ side: "history" })}
      />
      <Figure
        label={t("figure.memory")}
        value={format.bytes(overview.memory_bytes)}
        note={t("figure.memory_note")}
        href="/metrics"
      />
      <Figure
        label={t("figure.disk")}
        value={format.bytes(overview.disk_bytes)}
        note={t("figure.disk_note", { free: format.bytes(overview.disk_free_bytes) })}
        href={paths.tables({ sort: "-bytes" })}
      />
    </nav>
  );
}
