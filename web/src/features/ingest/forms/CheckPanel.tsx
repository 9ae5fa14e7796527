import { Button, Stack } from "@mantine/core";
import { IconCircleCheck, IconCircleX } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { commands } from "~/api/queries";
import type { CheckResult, Json } from "~/api/types";
import { ErrorNote } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { useT } from "~/i18n";
import { Panel } from "~/ui/Panel";
import { Prose } from "~/ui/Prose";
import classes from "./Forms.module.css";

const TABLES_SHOWN_MAX = 20;

interface Props {
  type: string;
  config: Record<string, Json>;
  valid: boolean;
  onTry: () => void;
  onResult: (result: CheckResult) => void;
}

/** Tries the connection step by step before anything is created. */
export function CheckPanel({ type, config, valid, onTry, onResult }: Props) {
  const t = useT();
  const may = useMay();
  const check = useMutation({ mutationFn: () => commands.checkSource(type, config), onSuccess: onResult });
  const result = check.data;
  const start = () => {
    onTry();
    if (valid) check.mutate();
  };
  return (
    <Panel
      title={t("source.check")}
      actions={
        <Button variant="light" loading={check.isPending} disabled={!may.edit} onClick={start}>
          {t("source.check_run")}
        </Button>
      }
    >
      <Stack gap="xs">
        {!result && !check.error && <span className="dim">{t("source.check_hint")}</span>}
        {check.error && <ErrorNote error={check.error} />}
        {result && (
          <div role="status">
            {result.steps.map((step) => (
              <div key={step.name} className={classes.step} data-ok={step.ok}>
                {step.ok ? <IconCircleCheck size={16} aria-label={t("source.check_ok")} /> : <IconCircleX size={16} aria-label={t("source.check_failed")} />}
                <span lang="en">
                  <strong>{step.name}</strong> <span className="dim"><Prose text={step.detail} /></span>
                </span>
              </div>
            ))}
            {result.tables.length > 0 && (
              <p className="dim" style={{ margin: "8px 0 0" }}>
                {t("source.check_tables", { count: result.tables.length })}{" "}
                <span className="mono" lang="en">
                  {result.tables.slice(0, TABLES_SHOWN_MAX).join(", ")}
                  {result.tables.length > TABLES_SHOWN_MAX ? " …" : ""}
                </span>
              </p>
            )}
          </div>
        )}
      </Stack>
    </Panel>
  );
}
