import { ActionIcon, Button, Input, Stack, TagsInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import { useT } from "~/i18n";
import { FieldInput, useFieldProps } from "./FieldInput";
import type { Field } from "./schema";
import type { InputProps } from "./SchemaForm";
import { join } from "./validate";
import classes from "./SchemaForm.module.css";

/** Several values: words are typed as tags, anything larger one below the other. */
export function ListField(props: InputProps<Field & { kind: "list" }>) {
  const { field, path, value, onChange, errors } = props;
  const t = useT();
  const words = useFieldProps(props);
  const items = Array.isArray(value) ? value : [];
  if (field.item.kind === "text" && !field.item.multiline) {
    const wrongItem = items.findIndex((_, index) => errors[join(path, index)]);
    const itemError = errors[join(path, wrongItem)];
    return (
      <TagsInput
        {...words}
        error={words.error ?? (itemError ? `${String(items[wrongItem])}: ${t(itemError.key, itemError.params)}` : undefined)}
        value={items.map(String)}
        placeholder={items.length === 0 ? (field.example ?? t("form.tags")) : undefined}
        splitChars={[",", " ", "\n"]}
        acceptValueOnBlur
        onChange={(next) => onChange(next.length === 0 ? undefined : next)}
      />
    );
  }
  return (
    <Input.Wrapper label={words.label} description={words.description} error={words.error} withAsterisk={words.withAsterisk}>
      <Stack gap={8} mt={4}>
        {items.map((item, index) => (
          <div key={index} className={classes.row}>
            <FieldInput
              field={field.item}
              path={join(path, index)}
              value={item}
              required
              errors={errors}
              onChange={(next) => onChange(items.map((old, at) => (at === index ? (next ?? null) : old)))}
            />
            <ActionIcon
              variant="subtle"
              color="gray"
              mt={6}
              aria-label={t("form.remove")}
              onClick={() => onChange(items.filter((_, at) => at !== index))}
            >
              <IconX size={16} />
            </ActionIcon>
          </div>
        ))}
        <Button
          variant="default"
          w="fit-content"
          leftSection={<IconPlus size={14} />}
          onClick={() => onChange([...items, field.item.kind === "group" ? {} : (field.item.default ?? "")])}
        >
          {t("form.add")}
        </Button>
      </Stack>
    </Input.Wrapper>
  );
}
