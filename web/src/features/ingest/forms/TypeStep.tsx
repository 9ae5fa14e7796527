import { Badge } from "@mantine/core";
import type { SourceType } from "~/api/types";
import { Filters, matches } from "~/components/Filters";
import { useView } from "~/components/view";
import { type MessageKey, useLanguage, useT } from "~/i18n";
import { EmptyState } from "~/ui/EmptyState";
import classes from "./Forms.module.css";

const CATEGORIES: Record<string, MessageKey> = {
  database: "source.category.database",
  file: "source.category.file",
  http: "source.category.http",
  queue: "source.category.queue",
  demo: "source.category.demo",
};

/** Which kind of system the rows come from. */
export function TypeStep({ types, onChoose }: { types: SourceType[]; onChoose: (type: SourceType) => void }) {
  const t = useT();
  const [language] = useLanguage();
  const [view] = useView();
  const chinese = language === "zh-CN";
  const shown = types.filter((type) => matches(view.q, type.name, type.title, type.title_zh, type.summary, type.summary_zh));
  // Kinds of one category stand together, in the order in which the server names the categories.
  const categories = [...new Set(shown.map((type) => type.category))];
  const ordered = categories.flatMap((category) => shown.filter((type) => type.category === category));
  return (
    <div className={classes.types}>
      <Filters label={t("source.search_types")} />
      {shown.length === 0 && <EmptyState title={t("source.no_type")} text={t("source.no_type_hint")} />}
      <div className={classes.cards}>
        {ordered.map((type) => (
          <button key={type.name} type="button" className={classes.card} onClick={() => onChoose(type)}>
            <span className={classes.category}>{CATEGORIES[type.category] ? t(CATEGORIES[type.category] as MessageKey) : type.category}</span>
            <strong>{chinese ? type.title_zh : type.title}</strong>
            <span>{chinese ? type.summary_zh : type.summary}</span>
            <span className={classes.meta}>
              <code>{type.name}</code>
              {type.stability === "beta" && (
                <Badge size="xs" variant="light" color="gray">
                  {t("source.beta")}
                </Badge>
              )}
            </span>
          </button>
        ))}
      </div>
    </div>
  );
}
