import { Button } from "@mantine/core";
import { IconTrash } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useParams, useRouter } from "@tanstack/react-router";
import { useState } from "react";
import { commands, queries } from "~/api/queries";
import type { Resource } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Confirm } from "~/components/Confirm";
import { Note } from "~/components/ErrorNote";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { PageHeader } from "~/components/PageHeader";
import { paths } from "~/components/paths";
import { usePrincipal } from "~/components/principal";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { EmptyState } from "~/ui/EmptyState";
import { DocumentEditor } from "../parts/DocumentEditor";
import { ResourceStateBadge } from "../parts/ResourceTable";

const STARTER = `kind: source
name: orders
spec:
  type: http_push
`;

/** The document of a resource, to read and to change; without a name, a new one. */
export default function ResourcePage() {
  const t = useT();
  const { kind, name } = useParams({ strict: false }) as { kind?: string; name?: string };
  const resources = useQuery({ ...queries.resources, enabled: name !== undefined });
  const parent = { label: t("nav.resources"), href: paths.resources() };
  if (!kind || !name) {
    return (
      <>
        <PageHeader title={t("resource.new")} parent={parent} lead={t("resource.new_lead")} />
        <DocumentEditor key="new" initial={STARTER} />
      </>
    );
  }
  return (
    <Load query={resources}>
      {(items) => {
        const found = items.find((one) => one.kind === kind && one.name === name);
        return found ? (
          <Existing resource={found} />
        ) : (
          <>
            <PageHeader title={name} parent={parent} />
            <EmptyState
              title={t("resource.not_found", { kind, name })}
              text={t("error.no_page_hint")}
              action={
                <Button variant="default" component={AppLink} href={parent.href}>
                  {t("error.to_list", { list: parent.label })}
                </Button>
              }
            />
          </>
        );
      }}
    </Load>
  );
}

function Existing({ resource }: { resource: Resource }) {
  const t = useT();
  const who = usePrincipal();
  const may = useMay();
  const router = useRouter();
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const remove = async () => {
    await commands.apply({ documents: "", delete: [{ kind: resource.kind, name: resource.name }] });
    toast(t("resource.deleted", { name: resource.name }));
    await client.invalidateQueries();
    router.history.push(paths.resources());
  };
  return (
    <>
      <PageHeader
        title={resource.name}
        parent={{ label: t("nav.resources"), href: paths.resources() }}
        badge={<ResourceStateBadge state={resource.state} />}
        lead={`${resource.kind} · ${t("resource.revision_number", { number: resource.revision })} · ${who(resource.author)}`}
        actions={
          <Button variant="default" leftSection={<IconTrash size={15} />} disabled={!may.edit} onClick={() => setAsking(true)}>
            {t("common.delete")}
          </Button>
        }
      />
      {resource.state === "failed" && resource.message && (
        <div style={{ marginBottom: 16 }}>
          <Note message={<span lang="en">{resource.message}</span>} hint={t("resource.failed_hint")} />
        </div>
      )}
      <DocumentEditor key={`${resource.kind}/${resource.name}/${resource.revision}`} initial={resource.yaml} />
      <Confirm
        opened={asking}
        onClose={() => setAsking(false)}
        title={t("resource.delete_title", { name: resource.name })}
        text={t("resource.delete_text")}
        verb={t("common.delete")}
        danger
        run={remove}
      />
    </>
  );
}
