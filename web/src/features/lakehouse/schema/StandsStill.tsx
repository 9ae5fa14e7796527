import { Button, Group, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPlayerPlay } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { acceptSql, tableCommands } from "~/api/lakehouse";
import type { TableDetail } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Confirm } from "~/components/Confirm";
import { Note } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { toast } from "~/components/toasts";
import { useT } from "~/i18n";
import { CodeBlock } from "~/ui/CodeBlock";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import { atSource } from "./notes";
import classes from "./Schema.module.css";

/** Why a table waits before a change at its source, and the ways on: follow this change, or another policy from here on. */
export function StandsStill({ table }: { table: TableDetail }) {
  const t = useT();
  const may = useMay();
  const client = useQueryClient();
  const [asking, modal] = useDisclosure();
  const waiting = table.applied_offset === null || table.applied_high_offset === null ? 0 : table.applied_high_offset - table.applied_offset;
  const sql = acceptSql(table);
  return (
    <Panel title={t("still.title")} note={waiting > 0 && table.topic && <TextLink href={paths.topic(table.topic)}>{t("still.waiting", { count: waiting })}</TextLink>}>
      <Stack gap="md">
        <Note message={table.message ? <span lang="en"><Prose text={table.message} /></span> : t("still.title")} hint={t("still.why")} />
        <div className={classes.ways}>
          <section className={classes.way}>
            <strong>{t("still.follow")}</strong>
            <span className="dim">{t("still.follow_note")}</span>
            <Group gap={8}>
              <Button leftSection={<IconPlayerPlay size={15} />} disabled={!may.edit} title={may.edit ? undefined : t("common.not_allowed")} onClick={modal.open}>
                {t("still.follow")}
              </Button>
            </Group>
          </section>
          {table.source && table.topic && (
            <section className={classes.way}>
              <strong>{t("still.policy")}</strong>
              <span className="dim"><Prose text={t("still.policy_note")} /></span>
              <CodeBlock code={`on_schema_change_of:\n  ${atSource(table.source, table.topic)}: evolve`} label={t("still.policy")} />
              <Group gap={8}>
                <Button variant="default" component={AppLink} href={paths.resource("source", table.source)}>
                  {t("still.open_yaml")}
                </Button>
              </Group>
            </section>
          )}
        </div>
      </Stack>
      <Confirm
        opened={asking}
        onClose={modal.close}
        title={t("still.follow")}
        text={
          <Stack gap="sm">
            <span>{t("still.follow_text", { name: table.name })}</span>
            {table.message && <span className="dim" lang="en"><Prose text={table.message} /></span>}
            <CodeBlock code={sql} label="SQL" />
          </Stack>
        }
        verb={t("still.follow")}
        run={async () => {
          await tableCommands.run(sql);
          toast(t("still.followed", { name: table.name }));
          await client.invalidateQueries({ queryKey: ["lakehouse"] });
        }}
      />
    </Panel>
  );
}
