import { Button, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPencil, IconTerminal2, IconTrash } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { ident } from "~/api/sql";
import { dropView, dropViewSql, replaceViewSql, type ViewDetail, viewQueries } from "~/api/views";
import { AppLink } from "~/components/AppLink";
import { Confirm } from "~/components/Confirm";
import { Note } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { toast } from "~/components/toasts";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { ResultGrid } from "~/ui/grid/ResultGrid";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { StateBadge } from "~/ui/StateBadge";

interface Name {
  namespace: string;
  view: string;
}

/** A query with a name: its text, what it gives, and how it was before. */
export default function ViewPage() {
  const t = useT();
  const { namespace, view } = useParams({ strict: false }) as unknown as Name;
  const detail = useQuery(viewQueries.one(namespace, view));
  const parent = { label: t("nav.tables"), href: paths.tables() };
  const data = detail.data ?? undefined;
  return (
    <>
      <PageHeader
        title={`${namespace}.${view}`}
        copyable={data !== undefined}
        parent={parent}
        badge={data && <StateBadge tone="info" label={t("view.view")} />}
        lead={data?.comment && <span lang="en">{data.comment}</span>}
        actions={
          data && (
            <>
              <Button variant="default" component={AppLink} href={paths.sql({ q: replaceViewSql(namespace, view, data.current) })} leftSection={<IconPencil size={15} />}>
                {t("form.to_sql")}
              </Button>
              <Button component={AppLink} href={paths.sql({ q: `SELECT *\nFROM ${ident(namespace)}.${ident(view)}\nLIMIT 100`, run: "1" })} leftSection={<IconTerminal2 size={15} />}>
                {t("view.query")}
              </Button>
            </>
          )
        }
      />
      <Load query={detail} lines={10} place={{ ...parent, of: paths.view }}>
        {(loaded) => (loaded ? <ViewBody name={{ namespace, view }} detail={loaded} /> : <Note message={t("view.unreadable")} />)}
      </Load>
    </>
  );
}

function ViewBody({ name, detail }: { name: Name; detail: ViewDetail }) {
  const t = useT();
  const { current } = detail;
  return (
    <Stack gap="md">
      <Panel title={t("view.text")} note={current.namespace && t("view.namespace", { namespace: current.namespace })}>
        <Stack gap="sm">
          {current.dialect !== "tarn" && <Note tone="warn" message={t("view.dialect", { dialect: current.dialect })} />}
          <CodeBlock code={current.sql} label={t("view.text")} tall />
        </Stack>
      </Panel>
      <Rows name={name} version={current.id} />
      <Panel flush title={t("form.columns")} note={t("view.columns_note")}>
        <DataTable
          label={t("form.columns")}
          rows={current.fields}
          rowKey={(field) => String(field.id)}
          columns={[
            { key: "name", header: t("topic.column"), cell: (field) => <span className="mono" lang="en">{field.name}</span> },
            { key: "type", header: t("col.type"), cell: (field) => <span className="mono" lang="en">{field.type}</span> },
            { key: "doc", header: t("form.comment"), grow: true, cell: (field) => field.doc && <span className="dim" lang="en">{field.doc}</span> },
          ]}
        />
      </Panel>
      {detail.versions.length > 1 && <Versions name={name} detail={detail} />}
      <DropView name={name} />
    </Stack>
  );
}

/** Some rows, or why the view cannot be read any more. */
function Rows({ name, version }: { name: Name; version: number }) {
  const t = useT();
  const rows = useQuery(viewQueries.rows(name.namespace, name.view, version));
  return (
    <Panel flush={!rows.error} title={t("table.preview")}>
      <Load query={rows}>
        {(data) => (data.rows.length === 0 ? <EmptyState title={t("sql.no_rows")} text={t("view.no_rows")} /> : <ResultGrid label={t("table.preview")} columns={data.columns} rows={data.rows} height={Math.min(420, 60 + data.rows.length * 30)} />)}
      </Load>
    </Panel>
  );
}

function Versions({ name, detail }: { name: Name; detail: ViewDetail }) {
  const t = useT();
  return (
    <Panel flush title={t("view.versions")} note={t("view.versions_note")}>
      <DataTable
        label={t("view.versions")}
        rows={detail.versions}
        rowKey={(version) => String(version.id)}
        columns={[
          { key: "id", header: t("view.version"), cell: (version) => <>{version.id} {version.id === detail.current.id && <span className="dim">{t("table.current")}</span>}</> },
          { key: "at", header: t("col.at"), cell: (version) => <When at={new Date(version.at_ms).toISOString()} /> },
          { key: "writer", header: t("snapshot.writer"), cell: (version) => <span lang="en">{version.writer ?? "–"}</span> },
          { key: "sql", header: t("view.text"), grow: true, width_min: 220, cell: (version) => <code lang="en">{version.sql}</code> },
          { key: "open", header: "", cell: (version) => <TextLink href={paths.sql({ q: replaceViewSql(name.namespace, name.view, version) })}>{t("form.to_sql")}</TextLink> },
        ]}
      />
    </Panel>
  );
}

function DropView({ name: { namespace, view } }: { name: Name }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [asking, modal] = useDisclosure();
  const name = `${namespace}.${view}`;
  return (
    <Panel title={t("view.drop")}>
      <Stack gap="sm" align="flex-start">
        <span className="dim"><Prose text={may.edit ? t("view.drop_note") : t("common.not_allowed")} /></span>
        <Button variant="default" leftSection={<IconTrash size={15} />} disabled={!may.edit} onClick={modal.open}>
          {t("view.drop")}
        </Button>
      </Stack>
      <Confirm
        opened={asking}
        onClose={modal.close}
        title={t("view.drop_title", { name })}
        text={
          <Stack gap="sm">
            {t("view.drop_text")}
            <CodeBlock code={dropViewSql(namespace, view)} label="SQL" />
          </Stack>
        }
        verb={t("view.drop")}
        danger
        run={async () => {
          await dropView(namespace, view);
          // The list must not show for a moment what is gone.
          client.setQueryData(viewQueries.list.queryKey, (before) => before?.filter((one) => one.name !== name));
          await navigate({ to: paths.tables() });
          toast(t("view.dropped", { name }));
        }}
      />
    </Panel>
  );
}
