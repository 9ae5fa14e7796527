import { Button, Progress, Stack } from "@mantine/core";
import { IconPencil } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { queries } from "~/api/queries";
import { useSourceRates } from "~/api/source-rates";
import type { SourceDetail } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Note } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { SourceStateBadge } from "~/components/StateBadges";
import { TabBar } from "~/components/TabBar";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useLanguage, useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";
import { RateChart } from "~/ui/RateChart";
import { DeadLetters } from "../parts/DeadLetters";
import { SourceCommands } from "../parts/SourceCommands";
import { isTroubled, SourceFault } from "../parts/SourceFault";
import { SourceHistory, SourceSpec, SourceTables } from "../parts/SourceTabs";

export default function SourcePage() {
  const t = useT();
  const { name } = useParams({ strict: false }) as { name: string };
  const source = useQuery(queries.source(name));
  const parent = { label: t("nav.sources"), href: paths.sources() };
  return (
    <>
      <PageHeader
        title={name}
        parent={parent}
        badge={source.data && <SourceStateBadge state={source.data.state} />}
        lead={source.data && <SourceTitle source={source.data} />}
        actions={
          source.data && (
            <>
              {/* In trouble, the note below the title offers the restart. */}
              <SourceCommands source={source.data} {...(isTroubled(source.data) ? { without: "restart" as const } : {})} />
              <Button component={AppLink} href={paths.newSource({ edit: name })} variant="default" leftSection={<IconPencil size={15} />}>
                {t("source.edit")}
              </Button>
            </>
          )
        }
      />
      <Load query={source} lines={10} place={{ ...parent, of: paths.source }}>
        {(data) => <SourceBody source={data} />}
      </Load>
    </>
  );
}

/** What kind of source it is; the list of kinds has the name in Chinese, too. */
function SourceTitle({ source }: { source: SourceDetail }) {
  const [language] = useLanguage();
  const types = useQuery({ ...queries.sourceTypes, enabled: language !== "en" });
  const chinese = language === "zh-CN" ? types.data?.find((type) => type.name === source.type)?.title_zh : undefined;
  return chinese ?? <span lang="en">{source.title}</span>;
}

function SourceBody({ source }: { source: SourceDetail }) {
  const t = useT();
  const format = useFormat();
  const seen = useSourceRates(source.name);
  const { data: overview } = useQuery(queries.overview);
  // The rates of all sources are those of the only one.
  const rates = source.rates ?? (overview?.sources_list.length === 1 ? overview.rates : undefined);
  const samples = rates?.map((point) => ({ at_ms: point.at_ms, value: point.rows_per_s })) ?? seen;
  const tableCount = source.per_table.length;
  return (
    <Stack gap="md">
      <SourceFault source={source} />
      {source.revision !== source.running_revision && (
        <Note tone="warn" message={t("source.old_revision", { running: source.running_revision, wanted: source.revision })} />
      )}
      <Facts items={useFacts(source)} />
      {source.snapshot && <SnapshotProgress source={source} snapshot={source.snapshot} />}
      <Panel title={t("source.rate_chart")} note={rates ? t("source.rate_all_note") : t("source.rate_note")}>
        <RateChart
          label={t("source.rate_chart")}
          samples={samples}
          window_ms={300_000}
          height={150}
          format={format.compact}
          formatAxis={format.axis}
          formatMinute={(at_ms) => format.minute(new Date(at_ms).toISOString())}
          formatTime={(at_ms) => format.time(new Date(at_ms).toISOString())}
        />
      </Panel>
      <TabBar
        label={source.name}
        tabs={[
          { id: "tables", label: t("col.tables"), count: format.count(tableCount), content: () => <SourceTables source={source} /> },
          { id: "history", label: t("source.history"), content: () => <SourceHistory source={source} /> },
          {
            id: "dead-letters",
            label: t("col.dead_letters"),
            count: format.count(source.dead_letters),
            content: () => <DeadLetters name={source.name} />,
          },
          { id: "spec", label: t("source.spec"), content: () => <SourceSpec source={source} /> },
        ]}
      />
    </Stack>
  );
}

function useFacts(source: SourceDetail) {
  const t = useT();
  const format = useFormat();
  const lag = source.lag_ms === null ? "–" : format.duration(source.lag_ms);
  const tables = paths.source(source.name);
  const history = paths.source(source.name, "history");
  return [
    { label: t("col.rows_per_s"), value: <TextLink quiet href={tables}>{format.count(source.rows_per_s)}</TextLink> },
    { label: t("source.rows_total"), value: <TextLink quiet href={tables}>{format.count(source.rows_total)}</TextLink> },
    { label: t("col.lag"), value: source.lag_bytes ? `${lag} · ${format.bytes(source.lag_bytes)}` : lag },
    { label: t("col.last_row"), value: <When at={source.last_row_at} /> },
    { label: t("source.state_since"), value: <TextLink quiet href={history}><When at={source.state_since} /></TextLink> },
    { label: t("source.restarts"), value: <TextLink quiet href={history}>{format.count(source.restarts)}</TextLink> },
  ];
}

function SnapshotProgress({ source, snapshot }: { source: SourceDetail; snapshot: NonNullable<SourceDetail["snapshot"]> }) {
  const t = useT();
  const format = useFormat();
  const all = snapshot.rows_estimated;
  if (all === null || all <= 0) return <span className="dim">{t("source.snapshot_rows", { done: format.count(snapshot.rows_done) })}</span>;
  const part = Math.min(1, snapshot.rows_done / all);
  return (
    <div>
      <Progress value={part * 100} aria-label={t("source.state.snapshot")} mb={4} />
      <span className="dim">
        {t(source.state === "snapshot" ? "source.snapshot_progress" : "source.replay_progress", {
          done: format.count(snapshot.rows_done),
          all: format.count(all),
          part: format.percent(part),
        })}
        {source.message && !isTroubled(source) && <span lang="en"> · {source.message}</span>}
      </span>
    </div>
  );
}
