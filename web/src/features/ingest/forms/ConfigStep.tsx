import { Button, Group, Menu, Stack, TextInput } from "@mantine/core";
import { type FormEvent, useMemo, useState } from "react";
import type { CheckResult, Json, SourceType } from "~/api/types";
import { fieldOf } from "~/components/schema-form/schema";
import { SchemaForm } from "~/components/schema-form/SchemaForm";
import { prune, validate } from "~/components/schema-form/validate";
import { useLanguage, useT } from "~/i18n";
import { Markdown } from "~/ui/Markdown";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import type { Draft } from "../pages/SourceFormPage";
import { CheckPanel } from "./CheckPanel";
import { configOf, NAME_PATTERN } from "./document";
import classes from "./Forms.module.css";

interface Props {
  type: SourceType;
  draft: Draft;
  edited: boolean;
  onChange: (draft: Draft) => void;
  onNext: () => void;
}

/** Whether the first step that failed was to get to the server at all. */
const isUnreached = (result: CheckResult) => result.steps.find((step) => !step.ok)?.name.toLowerCase() === "connect";

/** The form of a source type, with a test of the connection beside it. */
export function ConfigStep({ type, draft, edited, onChange, onNext }: Props) {
  const t = useT();
  const [language] = useLanguage();
  const field = useMemo(() => fieldOf(type.schema, type.name), [type]);
  const [tried, setTried] = useState(false);
  const [unreached, setUnreached] = useState<Json>();
  const upfront = useMemo(() => Object.keys(configOf(type.examples[0]?.config ?? "")), [type]);
  if (field.kind !== "group") return null;

  const config = prune(field, draft.config) as Record<string, Json>;
  const wrong = validate(field, draft.config);
  // What could not be reached is said at the address, too, until it is changed.
  const errors = unreached !== undefined && unreached === draft.config.url ? { url: { key: "source.not_reached" as const }, ...wrong } : wrong;
  const nameWrong = NAME_PATTERN.test(draft.name) ? undefined : t("source.name_rule");
  const valid = Object.keys(wrong).length === 0 && !nameWrong;
  const next = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (!valid) return;
    onChange({ ...draft, config });
    onNext();
  };

  return (
    <form onSubmit={next} noValidate>
      <div className={classes.two}>
        <Panel
          title={language === "zh-CN" ? type.title_zh : type.title}
          actions={
            <Menu position="bottom-end" withArrow>
              <Menu.Target>
                <Button variant="default">{t("source.fill_example")}</Button>
              </Menu.Target>
              <Menu.Dropdown>
                {type.examples.map((example) => (
                  <Menu.Item
                    key={example.title}
                    lang="en"
                    onClick={() => onChange({ name: draft.name || type.name, config: configOf(example.config) })}
                  >
                    {example.title}
                  </Menu.Item>
                ))}
              </Menu.Dropdown>
            </Menu>
          }
        >
          <Stack gap="sm">
            <TextInput
              label={t("source.name")}
              description={t("source.name_hint")}
              value={draft.name}
              disabled={edited}
              withAsterisk
              aria-required
              error={tried && nameWrong ? <Prose text={nameWrong} /> : undefined}
              onChange={(event) => onChange({ ...draft, name: event.currentTarget.value })}
            />
            <SchemaForm
              field={field}
              value={draft.config}
              errors={tried ? errors : {}}
              upfront={upfront}
              onChange={(changed) => onChange({ ...draft, config: changed })}
            />
            <Group justify="flex-end" mt="xs">
              {tried && !valid && <span style={{ color: "var(--bad)" }}>{t("source.correct_first")}</span>}
              <Button type="submit" size="sm">
                {t("source.to_review")}
              </Button>
            </Group>
          </Stack>
        </Panel>
        <div className={classes.sticky}>
          <CheckPanel
            type={type.name}
            config={config}
            onTry={() => setTried(true)}
            valid={Object.keys(wrong).length === 0}
            onResult={(result) => setUnreached(result.ok || !isUnreached(result) ? undefined : draft.config.url)}
          />
          {type.docs && (
            <Panel title={t("source.about")}>
              <Markdown text={type.docs} />
            </Panel>
          )}
        </div>
      </div>
    </form>
  );
}
