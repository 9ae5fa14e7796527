import { Checkbox, Input, JsonInput, NativeSelect, NumberInput, Textarea, TextInput } from "@mantine/core";
import { useId } from "react";
import type { Json } from "~/api/types";
import { useT } from "~/i18n";
import { Prose } from "~/ui/Prose";
import { MapField } from "./MapField";
import { ListField } from "./ListField";
import { SchemaForm, type InputProps } from "./SchemaForm";
import { SecretField } from "./SecretField";
import { VariantField } from "./VariantField";
import classes from "./SchemaForm.module.css";

/** The words around an input. What comes from the schema is English in every language of the console. */
export function useFieldProps({ field, path, errors, required }: Omit<InputProps, "value" | "onChange">) {
  const t = useT();
  const error = errors[path];
  const wrong = error ? t(error.key, error.params) : undefined;
  return {
    label: field.title ? <span lang="en">{field.title}</span> : undefined,
    description: field.description ? <span lang="en"><Prose text={field.description} /></span> : undefined,
    error: wrong,
    withAsterisk: required && field.default === undefined,
    "aria-required": required || undefined,
    "aria-label": field.title ? undefined : t("form.item"),
  };
}

function placeholderOf(field: InputProps["field"]): string | undefined {
  if (field.default !== undefined && field.default !== null && typeof field.default !== "object") return String(field.default);
  return field.example;
}

/** The input that fits a field. */
export function FieldInput(props: InputProps) {
  const { field, path, value, onChange, errors } = props;
  const t = useT();
  const id = useId();
  const words = useFieldProps(props);
  const placeholder = placeholderOf(field);
  switch (field.kind) {
    case "text": {
      const text = typeof value === "string" ? value : "";
      const change = (next: string) => onChange(next === "" ? undefined : next);
      return field.multiline ? (
        <Textarea {...words} lang="en" autosize minRows={3} value={text} placeholder={placeholder} onChange={(e) => change(e.currentTarget.value)} />
      ) : (
        <TextInput {...words} lang="en" value={text} placeholder={placeholder} onChange={(e) => change(e.currentTarget.value)} />
      );
    }
    case "number":
      return (
        <NumberInput
          {...words}
          value={typeof value === "number" ? value : ""}
          placeholder={placeholder}
          allowDecimal={!field.integer}
          onChange={(next) => onChange(next === "" ? undefined : Number(next))}
        />
      );
    case "boolean":
      return (
        <Checkbox
          label={words.label}
          description={words.description}
          error={words.error}
          checked={typeof value === "boolean" ? value : field.default === true}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
      );
    case "choice": {
      const about = field.options.find((option) => option.value === (value ?? field.default))?.description;
      return (
        <NativeSelect
          {...words}
          description={
            about ? (
              <span lang="en">
                <Prose text={field.description} /> <em><Prose text={about} /></em>
              </span>
            ) : (
              words.description
            )
          }
          value={value === undefined ? "" : String(value)}
          onChange={(event) => onChange(field.options.find((o) => String(o.value) === event.currentTarget.value)?.value)}
          data={[
            { value: "", label: placeholder ? t("form.default", { value: placeholder }) : t("form.choose") },
            ...field.options.map((option) => ({ value: String(option.value), label: option.label })),
          ]}
        />
      );
    }
    case "secret":
      return <SecretField {...props} />;
    case "list":
      return <ListField {...props} field={field} />;
    case "map":
      return <MapField {...props} field={field} />;
    case "variant":
      return <VariantField {...props} field={field} />;
    case "group":
      return (
        <fieldset className={classes.group}>
          <legend lang="en">{field.title}</legend>
          {field.description && <Input.Description lang="en"><Prose text={field.description} /></Input.Description>}
          <SchemaForm
            field={field}
            path={path}
            errors={errors}
            value={typeof value === "object" && value !== null && !Array.isArray(value) ? value : {}}
            onChange={(next) => onChange(Object.keys(next).length === 0 ? undefined : next)}
          />
        </fieldset>
      );
    case "json":
      return (
        <JsonInput
          {...words}
          id={id}
          autosize
          minRows={2}
          defaultValue={value === undefined ? "" : JSON.stringify(value, null, 2)}
          validationError={t("form.not_json")}
          onChange={(text) => {
            try {
              onChange(text.trim() === "" ? undefined : (JSON.parse(text) as Json));
            } catch {
              // Half typed; the input itself says so when it is left.
            }
          }}
        />
      );
  }
}
