import { Stack } from "@mantine/core";
import type { Change, ChangeAction, Plan, Problem } from "~/api/types";
import { useT } from "~/i18n";
import { Prose } from "~/ui/Prose";
import { Diff } from "~/ui/Diff";
import { StateBadge, type Tone } from "~/ui/StateBadge";
import { Note } from "./ErrorNote";

const TONES: Record<ChangeAction, Tone> = { create: "ok", update: "info", delete: "bad", none: "quiet" };

export function ActionBadge({ action }: { action: ChangeAction }) {
  const t = useT();
  return <StateBadge tone={TONES[action]} label={t(`change.${action}`)} />;
}

function Problems({ problems = [] }: { problems: Problem[] | undefined }) {
  const t = useT();
  return problems.map((problem) => (
    <Note
      key={`${problem.file}/${problem.line}/${problem.message}`}
      tone={problem.severity === "error" ? "bad" : "warn"}
      message={
        <>
          {problem.line ? `${t("change.line", { line: problem.line })} ` : ""}
          <span lang="en">
            <Prose text={problem.message} />
          </span>
        </>
      }
      hint={
        problem.hint ? (
          <span lang="en">
            <Prose text={problem.hint} />
          </span>
        ) : undefined
      }
    />
  ));
}

/** One change: what happens to which resource, its problems, its diff. */
export function ChangeView({ change }: { change: Change }) {
  const t = useT();
  return (
    <Stack gap={8}>
      <div style={{ display: "flex", gap: 10, alignItems: "center", flexWrap: "wrap" }}>
        <ActionBadge action={change.action} />
        <strong>
          {change.kind} {change.name}
        </strong>
      </div>
      <Problems problems={change.problems} />
      {change.diff && <Diff text={change.diff} label={t("change.diff", { name: change.name })} />}
    </Stack>
  );
}

/** What applying would do. */
export function PlanView({ plan }: { plan: Plan }) {
  const t = useT();
  const changes = plan.changes.filter((change) => change.action !== "none" || (change.problems?.length ?? 0) > 0);
  const whole = plan.problems ?? [];
  if (changes.length === 0 && whole.length === 0) return <span className="dim">{t("change.nothing")}</span>;
  return (
    <Stack gap="md">
      <Problems problems={whole} />
      {changes.map((change) => (
        <ChangeView key={`${change.kind}/${change.name}`} change={change} />
      ))}
    </Stack>
  );
}
