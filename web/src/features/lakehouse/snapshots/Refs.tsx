import { ActionIcon, Button, Menu } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconDots, IconGitBranch, IconGitMerge, IconPencil, IconTag, IconTerminal2, IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { asOf, branchRef, ident } from "~/api/sql";
import type { TableDetail } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { useView } from "~/components/view";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { useFormat } from "~/i18n/format";
import { DataTable } from "~/ui/DataTable";
import { Panel } from "~/ui/Panel";
import { type Standing, standingOf, sumOf, togglePair } from "./lineage";
import { mergeSql } from "./merge";
import { DropRefDialog, PublishDialog } from "./RefCommands";
import { RefDialog } from "./RefDialog";
import type { Ref } from "./refs";
import classes from "./Snapshots.module.css";

/** Tags and branches with how they stand to the table, and what is done with them. */
export function Refs({ table, refs }: { table: TableDetail; refs: Ref[] }) {
  const t = useT();
  const may = useMay();
  const [asking, setAsking] = useState<"tag" | "branch" | null>(null);
  const current = table.snapshot_list.find(({ id }) => id === table.snapshot_id);
  const create = (kind: "tag" | "branch") => {
    const Icon = kind === "tag" ? IconTag : IconGitBranch;
    return (
      <Button variant="default" leftSection={<Icon size={15} />} disabled={!may.edit || !current} title={may.edit ? t("snapshot.create_now") : t("common.not_allowed")} onClick={() => setAsking(kind)}>
        {t(`snapshot.create_${kind}`)}
      </Button>
    );
  };
  return (
    <Panel flush={refs.length > 0} title={t("snapshot.refs")} note={refs.length > 0 && t("snapshot.refs_note")} actions={<>{create("branch")}{create("tag")}</>}>
      {refs.length === 0 ? (
        <div className="dim">{t("snapshot.refs_none")}</div>
      ) : (
        <DataTable
          label={t("snapshot.refs")}
          rows={refs}
          rowKey={(ref) => ref.name}
          rowsShown={20}
          columns={[
            { key: "name", header: t("col.name"), cell: (ref) => <Name table={table} reference={ref} /> },
            { key: "at", header: t("col.at"), cell: (ref) => <When at={table.snapshot_list.find(({ id }) => id === ref.snapshot_id)?.at ?? null} /> },
            { key: "standing", header: t("snapshot.standing"), grow: true, cell: (ref) => <Stands of={standingOf(table.snapshot_list, table.snapshot_id, ref.snapshot_id)} /> },
            { key: "do", header: "", pinned: true, cell: (ref) => <RefActions table={table} reference={ref} /> },
          ]}
        />
      )}
      {asking && current && <RefDialog table={table} snapshot={current} kind={asking} refs={refs} onClose={() => setAsking(null)} />}
    </Panel>
  );
}

function Name({ table, reference }: { table: TableDetail; reference: Ref }) {
  const t = useT();
  const Icon = reference.kind === "tag" ? IconTag : IconGitBranch;
  return (
    <span className={classes.ref} data-kind={reference.kind}>
      <Icon size={13} aria-label={t(`snapshot.${reference.kind}`)} />
      <TextLink quiet href={paths.table(table.name, { tab: "snapshots", open: reference.snapshot_id })}>
        <span lang="en">{reference.name}</span>
      </TextLink>
    </span>
  );
}

function Stands({ of }: { of: Standing }) {
  const t = useT();
  const format = useFormat();
  if (of.kind === "same") return <span className="dim">{t("snapshot.stands.same")}</span>;
  const sum = sumOf(of.commits);
  return (
    <span>
      {t(`snapshot.stands.${of.kind}`, { count: of.commits.length })}{" "}
      <span className={classes.plus}>+{format.count(sum.added_rows)}</span> <span className={classes.minus}>−{format.count(sum.deleted_rows)}</span>
    </span>
  );
}

function RefActions({ table, reference }: { table: TableDetail; reference: Ref }) {
  const t = useT();
  const may = useMay();
  const [view, setView] = useView();
  const [dropping, drop] = useDisclosure();
  const [asking, publish] = useDisclosure();
  const { name, kind, snapshot_id } = reference;
  const standing = standingOf(table.snapshot_list, table.snapshot_id, snapshot_id);
  const ahead = standing.kind === "ahead" ? standing.commits : [];
  const write = `INSERT INTO ${branchRef(table, name)} (${table.schema.map((field) => ident(field.name)).join(", ")})\nVALUES (…)`;
  const compare = () => table.snapshot_id && setView({ compare: togglePair([table.snapshot_id], snapshot_id, table.snapshot_list), open: view.open });
  return (
    <span className={classes.actions}>
      <TextLink href={paths.sql({ q: `SELECT *\nFROM ${asOf(table, name)}\nLIMIT 100`, run: "1" })}>{t("snapshot.query")}</TextLink>
      <Menu position="bottom-end" withArrow width={280}>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t("snapshot.more_ref", { name })}>
            <IconDots size={16} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconTerminal2 size={15} />} disabled={standing.kind === "same" || table.snapshot_id === null} onClick={compare}>
            {t("snapshot.compare_ref")}
          </Menu.Item>
          {kind === "branch" && (
            <Menu.Item leftSection={<IconPencil size={15} />} component={AppLink} href={paths.sql({ q: write })}>
              {t("snapshot.write_branch")}
            </Menu.Item>
          )}
          {kind === "branch" && standing.kind === "apart" && standing.base && table.key.length > 0 && (
            <Menu.Item leftSection={<IconGitMerge size={15} />} component={AppLink} href={paths.sql({ q: mergeSql(table, name, standing.base) })}>
              {t("snapshot.merge_branch")}
              <div className={classes.why}>{t("snapshot.merge_branch_why")}</div>
            </Menu.Item>
          )}
          {kind === "branch" && (
            <Menu.Item leftSection={<IconGitMerge size={15} />} disabled={!may.edit || ahead.length === 0} onClick={publish.open}>
              {t("snapshot.publish_verb")}
              {may.edit && ahead.length === 0 && <div className={classes.why}>{t(standing.kind === "apart" ? "snapshot.publish_apart" : "snapshot.publish_nothing")}</div>}
            </Menu.Item>
          )}
          <Menu.Divider />
          <Menu.Item leftSection={<IconTrash size={15} />} color="var(--bad)" disabled={!may.edit} onClick={drop.open}>
            {t("common.delete")}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <PublishDialog table={table} reference={reference} ahead={ahead} opened={asking} onClose={publish.close} />
      <DropRefDialog table={table} reference={reference} opened={dropping} onClose={drop.close} />
    </span>
  );
}
