import {
  IconBook2,
  IconDatabaseImport,
  IconFileCode,
  IconGauge,
  IconKey,
  IconStack2,
  IconTable,
  IconTerminal2,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useRouterState } from "@tanstack/react-router";
import { queries } from "~/api/queries";
import type { Session } from "~/api/types";
import { AppLink } from "~/components/AppLink";
import { paths } from "~/components/paths";
import { type MessageKey, useT } from "~/i18n";
import { Mark } from "./Mark";
import classes from "./Rail.module.css";

export const PAGES: { key: MessageKey; href: string; icon: typeof IconGauge }[] = [
  { key: "nav.overview", href: paths.overview, icon: IconGauge },
  { key: "nav.sources", href: paths.sources(), icon: IconDatabaseImport },
  { key: "nav.topics", href: paths.topics(), icon: IconStack2 },
  { key: "nav.tables", href: paths.tables(), icon: IconTable },
  { key: "nav.sql", href: paths.sql(), icon: IconTerminal2 },
  { key: "nav.resources", href: paths.resources(), icon: IconFileCode },
  { key: "nav.access", href: paths.access(), icon: IconKey },
];

/** The menu at the left. */
export function Rail({ session }: { session: Session }) {
  const t = useT();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const { data: overview } = useQuery(queries.overview);
  const failed = overview?.faults.filter((fault) => fault.subject_kind === "source").length ?? 0;
  const isHere = (href: string) => (href === "/" ? path === "/" : path === href || path.startsWith(`${href}/`));

  return (
    <div className={classes.rail}>
      <AppLink href={paths.overview} className={classes.brand}>
        <Mark size={28} />
        <span>
          <strong>Tarn</strong>
          <small>{session.project}</small>
        </span>
      </AppLink>
      <nav aria-label={t("nav.menu")} className={classes.nav}>
        {PAGES.map(({ key, href, icon: Icon }) => (
          <AppLink key={href} href={href} className={classes.item} aria-current={isHere(href) ? "page" : undefined}>
            <Icon size={18} stroke={1.7} aria-hidden />
            {t(key)}
            {href === "/sources" && failed > 0 && (
              <span className={classes.count} title={t("nav.faults", { count: failed })}>
                {failed}
              </span>
            )}
          </AppLink>
        ))}
      </nav>
      <div className={classes.foot}>
        {session.demo && <span className={classes.demo}>{t("nav.demo")}</span>}
        <a href="/openapi.json" target="_blank" rel="noreferrer">
          <IconBook2 size={15} aria-hidden /> {t("nav.api")}
        </a>
        <span>{session.version}</span>
      </div>
    </div>
  );
}
