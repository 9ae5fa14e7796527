import { Button, Progress, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPencil, IconPlayerPlay, IconPlayerStop, IconTable } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type Import, importCommands, importQueries, isMode, isUnderWay } from "~/api/imports";
import { AppLink } from "~/components/AppLink";
import { Confirm } from "~/components/Confirm";
import { ErrorNote, Note } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { useView } from "~/components/view";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { Facts } from "~/ui/Facts";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { StateBadge } from "~/ui/StateBadge";
import { shownPath } from "./draft";
import { IMPORT_TONES } from "./tones";
import { Verified } from "./Verified";

/** How an import goes, and what came of it. */
export function RunStep({ id, onChange }: { id: string; onChange: (one: Import) => void }) {
  const t = useT();
  const run = useQuery(importQueries.one(id));
  return (
    <Load query={run} place={{ label: t("import.title"), href: paths.importTable(), of: (other) => paths.importTable({ id: other }) }}>
      {(one) => (
        <Stack gap="md">
          <Course one={one} onChange={() => onChange(one)} />
          {one.report && <Verified report={one.report} />}
          {one.progress.problems > 0 && <Problems one={one} />}
        </Stack>
      )}
    </Load>
  );
}

/** A new table goes again with an import that fails before all is in it; then there is nothing to go on with. */
const isGone = ({ state, error }: Import) => state === "failed" && /is gone again|^table `[^`]+` not found$/.test(error?.message ?? "");

function Course({ one, onChange }: { one: Import; onChange: () => void }) {
  const t = useT();
  const format = useFormat();
  const may = useMay();
  const client = useQueryClient();
  const again = () => client.invalidateQueries({ queryKey: ["imports"] });
  const cancel = useMutation({ mutationFn: () => importCommands.cancel(one.id), onSettled: again });
  const resume = useMutation({ mutationFn: () => importCommands.resume(one.id), onSettled: again });
  const { progress } = one;
  const gone = isGone(one);
  const moving = isUnderWay(one.state);
  const share = one.state === "done" ? 1 : progress.bytes_total === 0 ? 0 : Math.min(1, progress.bytes_done / progress.bytes_total);
  const table = (
    <Button component={AppLink} variant={one.state === "done" ? "filled" : "default"} href={paths.table(one.into)} leftSection={<IconTable size={15} />}>
      {t("import.open_table")}
    </Button>
  );
  return (
    <Panel
      title={<span lang="en">{one.into}</span>}
      note={<StateBadge tone={IMPORT_TONES[one.state]} label={t(`import.state.${one.state}`)} pulse={moving} />}
      actions={
        <>
          {moving && (
            <Button variant="default" leftSection={<IconPlayerStop size={15} />} disabled={!may.edit} loading={cancel.isPending} onClick={() => cancel.mutate()}>
              {t("common.cancel")}
            </Button>
          )}
          {(one.state === "failed" || one.state === "cancelled") && one.mode !== "cutover" && (
            <Button variant={gone ? "filled" : "default"} leftSection={<IconPencil size={15} />} disabled={!may.edit} onClick={onChange}>
              {t("import.change")}
            </Button>
          )}
          {(one.state === "failed" || one.state === "cancelled") && !gone && (
            <Button leftSection={<IconPlayerPlay size={15} />} disabled={!may.edit} loading={resume.isPending} title={t("import.resume_hint")} onClick={() => resume.mutate()}>
              {t("import.resume")}
            </Button>
          )}
          {one.mode === "register" && one.state === "done" && <CutOver into={one.into} />}
          {!gone && table}
        </>
      }
    >
      <Stack gap="md">
        <Progress value={share * 100} animated={moving} aria-label={t("import.progress")} />
        <Facts
          items={[
            { label: t("col.rows"), value: format.count(progress.rows) },
            { label: t("col.files"), value: `${format.count(progress.files_done)} / ${format.count(progress.files_total)}` },
            { label: t("col.size"), value: `${format.bytes(progress.bytes_done)} / ${format.bytes(progress.bytes_total)}` },
            { label: t("import.problems"), value: format.count(progress.problems) },
            { label: t("import.took"), value: format.duration((one.ended_ms ?? Math.max(Date.now(), one.created_ms)) - one.created_ms) },
          ]}
        />
        <div className="dim">
          {isMode(one.mode) && <>{t(`import.mode.${one.mode}`)} · </>}{t("import.from")} <span className="mono" lang="en" title={one.path}>{shownPath(one.path)}</span>
        </div>
        {one.error && <Note lang="en" message={one.error.message} hint={one.error.hint ?? undefined} />}
        {(cancel.error ?? resume.error) && <ErrorNote error={cancel.error ?? resume.error} />}
      </Stack>
    </Panel>
  );
}

/** Copies registered files into the table once both sides are equal, so that their old place can go. */
function CutOver({ into }: { into: string }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const [, setView] = useView();
  const [asking, modal] = useDisclosure();
  return (
    <>
      <Button variant="default" disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} onClick={modal.open}>
        {t("import.cutover")}
      </Button>
      <Confirm
        opened={asking}
        onClose={modal.close}
        title={t("import.cutover_title", { name: into })}
        text={t("import.cutover_text")}
        verb={t("import.cutover")}
        run={async () => {
          const made = await importCommands.cutOver(into);
          await client.invalidateQueries({ queryKey: ["imports", "list"] });
          setView({ id: made.id }, { push: true });
        }}
      />
    </>
  );
}

function Problems({ one }: { one: Import }) {
  const t = useT();
  const problems = useQuery(importQueries.problems(one.id, one.progress.problems));
  return (
    <Panel flush title={t("import.problems")} note={t("import.problems_note", { count: one.progress.problems })}>
      <Load query={problems}>
        {(items) => (
          <DataTable
            label={t("import.problems")}
            rows={items}
            rowKey={(problem) => `${problem.file}:${problem.line}:${problem.reason}`}
            rowsShown={50}
            columns={[
              { key: "reason", header: t("service.reason"), grow: true, width_min: 220, cell: (problem) => <span lang="en"><Prose text={problem.reason} /></span> },
              { key: "place", header: t("import.place"), cell: (problem) => <span className="mono" lang="en" title={problem.file}>{problem.file.split("/").at(-1)}:{problem.line}</span> },
              { key: "record", header: t("import.record"), width_min: 160, cell: (problem) => <span className="mono" lang="en">{problem.record}</span> },
            ]}
          />
        )}
      </Load>
    </Panel>
  );
}
