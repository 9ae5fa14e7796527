import { NativeSelect, TextInput } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";
import { useT } from "~/i18n";
import classes from "./Filters.module.css";
import { useView } from "./view";

interface Choice {
  /** The key in the URL. */
  key: string;
  label: string;
  options: { value: string; label: string }[];
}

/** A search field and choices, kept in the URL. */
export function Filters({ label, choices = [] }: { label: string; choices?: Choice[] }) {
  const t = useT();
  const [view, setView] = useView();
  return (
    <div className={classes.filters}>
      <TextInput
        type="search"
        size="xs"
        className={classes.search}
        aria-label={label}
        placeholder={label}
        leftSection={<IconSearch size={14} />}
        value={view.q ?? ""}
        onChange={(event) => setView({ q: event.currentTarget.value })}
      />
      {choices.map((choice) => (
        <NativeSelect
          key={choice.key}
          size="xs"
          aria-label={choice.label}
          value={view[choice.key] ?? ""}
          onChange={(event) => setView({ [choice.key]: event.currentTarget.value })}
          data={[{ value: "", label: `${choice.label}: ${t("common.all")}` }, ...choice.options]}
        />
      ))}
    </div>
  );
}

/** Whether any of the texts holds what was searched. */
export function matches(search: string | undefined, ...texts: (string | null | undefined)[]): boolean {
  if (!search) return true;
  const wanted = search.trim().toLowerCase();
  return texts.some((text) => text?.toLowerCase().includes(wanted));
}
