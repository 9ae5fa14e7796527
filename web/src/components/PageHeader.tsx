import { IconChevronLeft } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useEffect } from "react";
import { useT } from "~/i18n";
import { CopyIcon } from "~/ui/CopyIcon";
import { Prose } from "~/ui/Prose";
import { AppLink } from "./AppLink";
import classes from "./PageHeader.module.css";

interface Props {
  title: string;
  /** The list that this page came from. */
  parent?: { label: string; href: string };
  badge?: ReactNode;
  /** The title is a name that one may want elsewhere. */
  copyable?: boolean;
  lead?: ReactNode;
  actions?: ReactNode;
}

export function PageHeader({ title, parent, badge, copyable, lead, actions }: Props) {
  const t = useT();
  useEffect(() => {
    document.title = `${title} · Tarn`;
  }, [title]);
  return (
    <header className={classes.header}>
      <div className={classes.words}>
        {parent && (
          <AppLink className={classes.parent} href={parent.href}>
            <IconChevronLeft size={14} aria-hidden />
            {parent.label}
          </AppLink>
        )}
        <div className={classes.line}>
          <h1 className={classes.title}>{title}</h1>
          {copyable && <CopyIcon text={title} label={t("common.copy_name")} />}
          {badge}
        </div>
        {lead && <p className={classes.lead}>{typeof lead === "string" ? <Prose text={lead} /> : lead}</p>}
      </div>
      {actions && <div className={classes.actions}>{actions}</div>}
    </header>
  );
}
