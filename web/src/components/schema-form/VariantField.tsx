import { NativeSelect } from "@mantine/core";
import { useT } from "~/i18n";
import { FieldInput, useFieldProps } from "./FieldInput";
import { type Field, variantIndex } from "./schema";
import { type InputProps, SchemaForm } from "./SchemaForm";
import classes from "./SchemaForm.module.css";

/** One of several shapes: choose which, then fill it in. */
export function VariantField(props: InputProps<Field & { kind: "variant" }>) {
  const { field, path, value, onChange, errors } = props;
  const t = useT();
  const words = useFieldProps(props);
  const index = variantIndex(field.options, value);
  const chosen = field.options[index];
  const choose = (next: string) => {
    const option = field.options[Number(next)];
    if (next === "" || !option) return onChange(undefined);
    onChange(option.field.kind === "group" ? { ...option.tag } : (option.field.default ?? ""));
  };
  return (
    <fieldset className={classes.group}>
      <legend lang="en">{field.title}</legend>
      <NativeSelect
        aria-label={field.title}
        description={words.description}
        error={words.error}
        value={index < 0 ? "" : String(index)}
        onChange={(event) => choose(event.currentTarget.value)}
        data={[
          { value: "", label: t("form.choose") },
          ...field.options.map((option, at) => ({ value: String(at), label: option.label })),
        ]}
        mb={chosen ? "sm" : 0}
      />
      {chosen?.field.kind === "group" ? (
        <SchemaForm
          field={chosen.field}
          path={path}
          errors={errors}
          value={typeof value === "object" && value !== null && !Array.isArray(value) ? value : {}}
          onChange={(next) => onChange({ ...chosen.tag, ...next })}
        />
      ) : (
        chosen && <FieldInput {...props} field={{ ...chosen.field, title: "" }} />
      )}
    </fieldset>
  );
}
