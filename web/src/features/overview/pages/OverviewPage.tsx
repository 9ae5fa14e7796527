import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { Overview } from "~/api/types";
import { Load } from "~/components/Load";
import { PageHeader } from "~/components/PageHeader";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { FaultList } from "../parts/FaultList";
import { Figures } from "../parts/Figures";
import { FirstSteps } from "../parts/FirstSteps";
import { FlowChart } from "../parts/FlowChart";
import { SourcesNow, TablesNow } from "../parts/NowLists";
import { ThreeThings } from "../parts/ThreeThings";
import classes from "../parts/Overview.module.css";

/** What flows now, what is wrong, and where to look. */
export default function OverviewPage() {
  const t = useT();
  const overview = useQuery(queries.overview);
  return (
    <>
      <Heading overview={overview.data} />
      <Load query={overview} lines={12}>
        {(data) => (
          <div className={classes.page}>
            <FaultList faults={data.faults} />
            {data.tables_list.length === 0 && <FirstSteps overview={data} />}
            <FlowChart overview={data} />
            <Figures overview={data} />
            {data.tables_list.length > 0 && <ThreeThings overview={data} />}
            <div className={classes.columns}>
              <SourcesNow sources={data.sources_list} />
              <TablesNow tables={data.tables_list} />
            </div>
          </div>
        )}
      </Load>
      <span className="visually-hidden">{t("overview.live_note")}</span>
    </>
  );
}

function Heading({ overview }: { overview: Overview | undefined }) {
  const t = useT();
  const format = useFormat();
  const lead = overview
    ? [
        t("overview.sources_running", { count: overview.sources.running }),
        overview.sources.failed > 0 ? t("overview.sources_failed", { count: overview.sources.failed }) : "",
        t("overview.up", { time: format.duration(overview.uptime_ms) }),
      ]
        .filter(Boolean)
        .join(" · ")
    : undefined;
  return <PageHeader title={t("nav.overview")} lead={lead} />;
}
