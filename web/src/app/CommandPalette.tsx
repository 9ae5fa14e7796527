import { Modal } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useRouter } from "@tanstack/react-router";
import { type KeyboardEvent, useMemo, useState } from "react";
import { queries } from "~/api/queries";
import { viewQueries } from "~/api/views";
import { matches } from "~/components/Filters";
import { paths } from "~/components/paths";
import { useT } from "~/i18n";
import { PAGES } from "./Rail";
import classes from "./CommandPalette.module.css";

interface Target {
  label: string;
  group: string;
  href: string;
}

const SHOWN_MAX = 12;

function useTargets(): Target[] {
  const t = useT();
  const { data: sources } = useQuery({ ...queries.sources, refetchInterval: false });
  const { data: topics } = useQuery({ ...queries.topics, refetchInterval: false });
  const { data: tables } = useQuery({ ...queries.tables, refetchInterval: false });
  const { data: views } = useQuery({ ...viewQueries.list, refetchInterval: false });
  return useMemo(
    () => [
      ...PAGES.map((page) => ({ label: t(page.key), group: t("palette.page"), href: page.href })),
      { label: t("source.add"), group: t("palette.action"), href: paths.newSource() },
      { label: t("resource.new"), group: t("palette.action"), href: paths.newResource },
      ...(sources ?? []).map((s) => ({ label: s.name, group: t("palette.source"), href: paths.source(s.name) })),
      ...(tables ?? []).map((s) => ({ label: s.name, group: t("palette.table"), href: paths.table(s.name) })),
      ...(views ?? []).map((s) => ({ label: s.name, group: t("view.view"), href: paths.view(s.name) })),
      ...(topics ?? []).map((s) => ({ label: s.name, group: t("palette.topic"), href: paths.topic(s.name) })),
    ],
    [t, sources, tables, views, topics],
  );
}

/** Goes anywhere by typing. */
export default function CommandPalette({ onClose }: { onClose: () => void }) {
  const t = useT();
  const router = useRouter();
  const targets = useTargets();
  const [text, setText] = useState("");
  const [active, setActive] = useState(0);
  const found = targets.filter((target) => matches(text, target.label, target.group)).slice(0, SHOWN_MAX);
  const at = Math.min(active, Math.max(0, found.length - 1));

  const go = (target: Target | undefined) => {
    if (!target) return;
    onClose();
    router.history.push(target.href);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") setActive((at + 1) % Math.max(1, found.length));
    else if (event.key === "ArrowUp") setActive((at + found.length - 1) % Math.max(1, found.length));
    else if (event.key === "Enter") go(found[at]);
    else return;
    event.preventDefault();
  };

  return (
    <Modal.Root opened onClose={onClose} size={560} centered={false} yOffset="12vh">
      <Modal.Overlay backgroundOpacity={0.35} blur={2} />
      <Modal.Content aria-label={t("palette.title")}>
        <Modal.Body p={0}>
      <input
        className={classes.input}
        role="combobox"
        aria-label={t("palette.title")}
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found[at] ? `palette-${at}` : undefined}
        placeholder={t("palette.placeholder")}
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={onKey}
        data-autofocus
      />
      <div id="palette-list" role="listbox" aria-label={t("palette.title")} className={classes.list}>
        {found.map((target, index) => (
          <div
            key={target.href + target.label}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === at}
            className={classes.option}
            onPointerMove={() => setActive(index)}
            onClick={() => go(target)}
          >
            <span>{target.label}</span>
            <span className="dim">{target.group}</span>
          </div>
        ))}
      </div>
      {found.length === 0 && <p className={classes.none}>{t("palette.none")}</p>}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
