import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { commands } from "~/api/queries";
import type { Fault } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { Note } from "~/components/ErrorNote";
import { useMay } from "~/components/may";
import { paths } from "~/components/paths";
import { TextLink } from "~/components/TextLink";
import { toast } from "~/components/toasts";
import { When } from "~/components/When";
import { useT } from "~/i18n";
import { Prose } from "~/ui/Prose";
import classes from "./Overview.module.css";

const SHOWN_MAX = 5;

/** What is wrong now, worst first, each with the one thing to do. */
export function FaultList({ faults }: { faults: Fault[] }) {
  const t = useT();
  if (faults.length === 0) return null;
  const ordered = [...faults].sort((a, b) => Number(a.severity === "warning") - Number(b.severity === "warning"));
  return (
    <section className={classes.faults} aria-label={t("overview.faults")}>
      {ordered.slice(0, SHOWN_MAX).map((fault) => (
        <FaultNote key={`${fault.subject_kind}/${fault.subject}/${fault.message}`} fault={fault} />
      ))}
      {faults.length > SHOWN_MAX && <span className="dim">{t("overview.more_faults", { count: faults.length - SHOWN_MAX })}</span>}
    </section>
  );
}

function placeOf(fault: Fault): string {
  switch (fault.subject_kind) {
    case "source":
      return paths.source(fault.subject);
    case "topic":
      return paths.topic(fault.subject);
    case "table":
      return paths.table(fault.subject);
    case "resource":
      return paths.resources();
  }
}

function FaultNote({ fault }: { fault: Fault }) {
  const t = useT();
  const tone = fault.severity === "error" ? "bad" : "warn";
  return (
    <Note
      tone={tone}
      message={
        <>
          {t(`subject.${fault.subject_kind}`)} <TextLink href={placeOf(fault)}>{fault.subject}</TextLink>: <span lang="en"><Prose text={fault.message} /></span>
        </>
      }
      hint={
        <>
          <span lang="en"><Prose text={fault.hint} /></span> (<When at={fault.at} />)
        </>
      }
      action={<FaultAction fault={fault} />}
    />
  );
}

function FaultAction({ fault }: { fault: Fault }) {
  const t = useT();
  const may = useMay();
  const restart = useMutation({
    mutationFn: () => commands.source(fault.subject, "restart"),
    onSuccess: () => toast(t("source.restarted", { name: fault.subject })),
    onError: (error) => toast(error.message, true),
  });
  if (fault.action.label_key === "restart" && fault.subject_kind === "source") {
    return (
      <Button variant="default" loading={restart.isPending} disabled={!may.edit} onClick={() => restart.mutate()}>
        {t("fault.restart")}
      </Button>
    );
  }
  return (
    <Button variant="default" component={AppLink} href={fault.action.href}>
      {t(`fault.${fault.action.label_key}`)}
    </Button>
  );
}
