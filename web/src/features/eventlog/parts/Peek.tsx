import { Button, Group, NativeSelect, NumberInput, Switch } from "@mantine/core";
import { IconChevronLeft, IconChevronRight, IconPlayerTrackNext } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { queries } from "~/api/queries";
import type { RowKind, TopicDetail, TopicRows } from "~/api/types";
import { Load } from "~/components/Load";
import { useView } from "~/components/view";
import { type MessageKey, useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { EmptyState } from "~/ui/EmptyState";
import { isNumericType, shownText } from "~/ui/grid/cells";
import { Panel } from "~/ui/Panel";
import { StateBadge, type Tone } from "~/ui/StateBadge";
import classes from "./Peek.module.css";

const PAGE = 100;

const KINDS: Record<RowKind, { tone: Tone; word: MessageKey }> = {
  insert: { tone: "ok", word: "row.insert" },
  update_before: { tone: "quiet", word: "row.update_before" },
  update_after: { tone: "info", word: "row.update_after" },
  delete: { tone: "bad", word: "row.delete" },
  truncate: { tone: "warn", word: "row.truncate" },
};

/** Only a time of today is told apart by its time alone; a replay has others. */
const isToday = (iso: string) => new Date(iso).toDateString() === new Date().toDateString();

const wholeNumber = (text: string | undefined): number | null => (text && /^\d+$/.test(text) ? Number(text) : null);

/** Rows of a topic at an offset, or the newest and those that follow. */
export function Peek({ topic }: { topic: TopicDetail }) {
  const t = useT();
  const [view, setView] = useView();
  const partition = wholeNumber(view.partition) ?? 0;
  const offset = wholeNumber(view.offset);
  const tail = offset === null && view.tail !== "off";
  const rows = useQuery(queries.topicRows(topic.name, { partition, offset, limit: PAGE, tail }));
  const place = topic.partition_list.find((one) => one.partition === partition);
  const low = rows.data?.low_offset ?? place?.low_offset ?? 0;
  const high = rows.data?.high_offset ?? place?.high_offset ?? 0;
  const first = rows.data?.rows.reduce((least, row) => Math.min(least, row.offset), Number.POSITIVE_INFINITY) ?? high;
  const at = offset ?? (Number.isFinite(first) ? first : high);
  const goTo = (next: number | null) => setView({ offset: next === null ? undefined : String(Math.max(low, next)) });

  return (
    <Panel
      flush
      title={t("topic.rows")}
      actions={
        <Group gap={8} wrap="wrap">
          {topic.partition_list.length > 1 && (
            <NativeSelect
              size="xs"
              aria-label={t("topic.partition")}
              value={String(partition)}
              onChange={(event) => setView({ partition: event.currentTarget.value, offset: undefined })}
              data={topic.partition_list.map((one) => ({ value: String(one.partition), label: `${t("topic.partition")} ${one.partition}` }))}
            />
          )}
          <NumberInput
            size="xs"
            w={150}
            aria-label={t("topic.from_offset")}
            placeholder={t("topic.from_offset")}
            min={low}
            max={high}
            allowDecimal={false}
            hideControls
            value={offset ?? ""}
            onChange={(value) => goTo(value === "" ? null : Number(value))}
          />
          <Button variant="default" aria-label={t("topic.earlier")} disabled={at <= low} onClick={() => goTo(at - PAGE)}>
            <IconChevronLeft size={15} />
          </Button>
          <Button variant="default" aria-label={t("topic.later")} disabled={at + PAGE >= high} onClick={() => goTo(at + PAGE)}>
            <IconChevronRight size={15} />
          </Button>
          <Button variant="default" leftSection={<IconPlayerTrackNext size={15} />} onClick={() => goTo(null)} disabled={offset === null}>
            {t("topic.newest")}
          </Button>
          <Switch
            size="sm"
            label={t("topic.tail")}
            checked={tail}
            disabled={offset !== null}
            onChange={(event) => setView({ tail: event.currentTarget.checked ? undefined : "off" })}
          />
        </Group>
      }
    >
      <Load query={rows}>{(data) => <Rows data={data} newestFirst={offset === null} label={t("topic.rows")} />}</Load>
    </Panel>
  );
}

function Rows({ data, newestFirst, label }: { data: TopicRows; newestFirst: boolean; label: string }) {
  const t = useT();
  const format = useFormat();
  if (data.rows.length === 0) return <EmptyState title={t("topic.no_rows")} text={t("topic.no_rows_hint")} />;
  const rows = [...data.rows].sort((a, b) => (newestFirst ? b.offset - a.offset : a.offset - b.offset));
  return (
    <div className={classes.scroll} tabIndex={0} role="region" aria-label={label}>
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col" className="num">
              {t("topic.offset")}
            </th>
            <th scope="col">{t("row.kind")}</th>
            <th scope="col">{t("col.at")}</th>
            {data.columns.map((column) => (
              <th key={column.name} scope="col" className={isNumericType(column.type) ? "num" : undefined} title={column.type} lang="en">
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.offset} data-kind={row.kind}>
              <td className="num">{format.count(row.offset)}</td>
              <td>
                <StateBadge tone={KINDS[row.kind].tone} label={t(KINDS[row.kind].word)} />
              </td>
              <td className="nowrap" title={format.date(row.at)}>
                {isToday(row.at) ? format.time(row.at) : format.date(row.at)}
              </td>
              {data.columns.map((column) => {
                const value = row.values[column.name];
                return (
                  <td key={column.name} className={isNumericType(column.type) ? "num" : classes.value} lang="en">
                    {value === null || value === undefined ? <span className={classes.nothing}>–</span> : shownText(value, column.type)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
