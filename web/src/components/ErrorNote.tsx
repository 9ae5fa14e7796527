import { Button } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { ApiError } from "~/api/client";
import { useT } from "~/i18n";
import { Prose } from "~/ui/Prose";
import classes from "./ErrorNote.module.css";

interface Props {
  error: unknown;
  onRetry?: () => void;
  action?: ReactNode;
}

/** What went wrong and what to do, where it happened. */
export function ErrorNote({ error, onRetry, action }: Props) {
  const t = useT();
  const known = error instanceof ApiError ? error : undefined;
  const unreachable = known?.status === 0;
  const message = unreachable ? t("error.unreachable") : (known?.message ?? t("error.unexpected", { detail: String(error) }));
  const hint = unreachable ? t("error.unreachable_hint") : (known?.hint ?? (known ? t(`error.hint.${known.kind}`) : undefined));
  const lang = known && !unreachable ? ("en" as const) : undefined;
  return <Note {...(lang ? { lang } : {})} message={message} hint={hint} action={action ?? (onRetry && <Button variant="default" onClick={onRetry}>{t("common.retry")}</Button>)} />;
}

interface NoteProps {
  message: ReactNode;
  hint?: ReactNode;
  tone?: "bad" | "warn";
  /** Of the words, where they are the server's. */
  lang?: "en";
  action?: ReactNode;
}

export function Note({ message, hint, tone = "bad", lang, action }: NoteProps) {
  return (
    <div className={classes.note} data-tone={tone} role="alert">
      <IconAlertTriangle size={17} className={classes.icon} aria-hidden />
      <div className={classes.words}>
        <div className={classes.message} lang={lang}>{typeof message === "string" ? <Prose text={message} /> : message}</div>
        {hint && <div className={classes.hint} lang={lang}>{typeof hint === "string" ? <Prose text={hint} /> : hint}</div>}
      </div>
      {action && <div className={classes.action}>{action}</div>}
    </div>
  );
}
