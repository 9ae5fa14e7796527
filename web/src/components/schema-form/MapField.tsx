import { ActionIcon, Button, Input, Stack, TextInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import type { Json } from "~/api/types";
import { useT } from "~/i18n";
import { FieldInput, useFieldProps } from "./FieldInput";
import type { Field } from "./schema";
import type { InputProps } from "./SchemaForm";
import { join } from "./validate";
import classes from "./SchemaForm.module.css";

/** Names and values. */
export function MapField(props: InputProps<Field & { kind: "map" }>) {
  const { field, path, value, onChange, errors } = props;
  const t = useT();
  const words = useFieldProps(props);
  const entries = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  const set = (next: [string, Json][]) => onChange(next.length === 0 ? undefined : Object.fromEntries(next));
  return (
    <Input.Wrapper label={words.label} description={words.description} error={words.error} withAsterisk={words.withAsterisk}>
      <Stack gap={8} mt={4}>
        {entries.map(([name, item], index) => (
          <div key={index} className={classes.row}>
            <div className={classes.pair}>
              <TextInput
                aria-label={t("form.name")}
                placeholder={t("form.name")}
                value={name}
                onChange={(event) => {
                  const renamed = event.currentTarget.value;
                  // Two entries with one name would lose one of them.
                  if (entries.some(([other], at) => other === renamed && at !== index)) return;
                  set(entries.map((entry, at) => (at === index ? [renamed, item] : entry)));
                }}
              />
              <FieldInput
                field={field.value}
                path={join(path, name)}
                value={item}
                required
                errors={errors}
                onChange={(next) => set(entries.map((entry, at) => (at === index ? [name, next ?? ""] : entry)))}
              />
            </div>
            <ActionIcon
              variant="subtle"
              color="gray"
              mt={6}
              aria-label={t("form.remove")}
              onClick={() => set(entries.filter((_, at) => at !== index))}
            >
              <IconX size={16} />
            </ActionIcon>
          </div>
        ))}
        <Button
          variant="default"
          w="fit-content"
          leftSection={<IconPlus size={14} />}
          disabled={entries.some(([name]) => name === "")}
          onClick={() => set([...entries, ["", field.value.kind === "group" ? {} : ""]])}
        >
          {t("form.add")}
        </Button>
      </Stack>
    </Input.Wrapper>
  );
}
