import { Button, Group } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { commands, queries } from "~/api/queries";
import { Load } from "~/components/Load";
import { useMay } from "~/components/may";
import { NewSecret } from "~/components/schema-form/SecretField";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { DataTable } from "~/ui/DataTable";
import { EmptyState } from "~/ui/EmptyState";
import { Panel } from "~/ui/Panel";
import { RemoveButton } from "./RemoveButton";

export function Secrets() {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const secrets = useQuery(queries.secrets);
  const [writing, setWriting] = useState<string | null>(null);
  const refresh = () => client.invalidateQueries({ queryKey: ["secrets"] });
  const add = (
    <Button leftSection={<IconPlus size={15} />} disabled={!may.admin} onClick={() => setWriting("")}>
      {t("form.secret_new")}
    </Button>
  );
  return (
    <Panel flush title={t("access.secrets")} note={t("access.secrets_note")} actions={secrets.data?.length ? add : undefined}>
      <Load query={secrets}>
        {(items) => (
          <DataTable
            label={t("access.secrets")}
            rows={items}
            rowKey={(secret) => secret.name}
            columns={[
              { key: "name", header: t("col.name"), grow: true, cell: (secret) => <span className="mono">{secret.name}</span> },
              { key: "used", header: t("access.used_by"), cell: (secret) => <Users names={secret.used_by} /> },
              { key: "at", header: t("resource.changed"), numeric: true, cell: (secret) => <When at={secret.updated_at} /> },
              {
                key: "change",
                header: "",
                numeric: true,
                cell: (secret) => (
                  <Group gap={4} wrap="nowrap" justify="flex-end">
                    <Button variant="subtle" size="compact-xs" disabled={!may.admin} onClick={() => setWriting(secret.name)} aria-label={t("access.replace_secret", { name: secret.name })}>
                      {t("access.replace")}
                    </Button>
                    <RemoveButton
                      title={t("access.delete_secret", { name: secret.name })}
                      text={t("access.delete_secret_text", { count: secret.used_by.length })}
                      run={() => commands.deleteSecret(secret.name).then(refresh)}
                    />
                  </Group>
                ),
              },
            ]}
            empty={<EmptyState title={t("access.no_secrets")} text={t("access.no_secrets_hint")} code="password: { secret: shop_password }" action={add} />}
          />
        )}
      </Load>
      {writing !== null && <NewSecret suggested={writing} onClose={() => setWriting(null)} onCreated={() => setWriting(null)} />}
    </Panel>
  );
}

/** What refers to a secret; `source shop` and `source/shop` name a resource, which has a page. */
function Users({ names }: { names: string[] }) {
  const t = useT();
  if (names.length === 0) return <span className="dim">{t("access.unused")}</span>;
  return names.map((name) => {
    const [, kind, resource] = /^(\w+)[ /](\S+)$/.exec(name) ?? [];
    return (
      <div key={name} className="nowrap">
        {kind && resource ? <TextLink href={paths.resource(kind, resource)}>{`${kind} ${resource}`}</TextLink> : name}
      </div>
    );
  });
}
