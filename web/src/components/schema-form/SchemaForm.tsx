import { Button, Collapse, Stack } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconChevronDown, IconChevronRight } from "@tabler/icons-react";
import type { Json } from "~/api/types";
import { useT } from "~/i18n";
import { FieldInput } from "./FieldInput";
import type { Field } from "./schema";
import { type FieldErrors, join } from "./validate";

export interface InputProps<F extends Field = Field> {
  field: F;
  path: string;
  value: Json | undefined;
  onChange: (value: Json | undefined) => void;
  errors: FieldErrors;
  required: boolean;
}

interface Props {
  field: Field & { kind: "group" };
  value: Record<string, Json>;
  onChange: (value: Record<string, Json>) => void;
  errors: FieldErrors;
  /** Optional fields to show at once; the others are folded away. */
  upfront?: string[];
  path?: string;
}

const FOLD_ABOVE = 3;

/** Draws the fields of a group: the needed ones first, the rarely needed folded away. */
export function SchemaForm({ field, value, onChange, errors, upfront = [], path = "" }: Props) {
  const t = useT();
  const names = Object.keys(field.fields);
  const needed = names.filter((name) => field.required.includes(name));
  const optional = names.filter((name) => !field.required.includes(name));
  const early = optional.filter((name) => upfront.includes(name));
  const rest = optional.filter((name) => !upfront.includes(name));
  const folded = rest.length > FOLD_ABOVE ? rest : [];
  const wrong = folded.some((name) => Object.keys(errors).some((at) => at === join(path, name) || at.startsWith(`${join(path, name)}.`)));
  const [opened, fold] = useDisclosure(folded.some((name) => value[name] !== undefined));

  const input = (name: string) => {
    const child = field.fields[name];
    if (!child) return null;
    return (
      <FieldInput
        key={name}
        field={child}
        path={join(path, name)}
        value={value[name]}
        required={field.required.includes(name)}
        errors={errors}
        onChange={(changed) => {
          const { [name]: _, ...others } = value;
          onChange(changed === undefined ? others : { ...value, [name]: changed });
        }}
      />
    );
  };

  return (
    <Stack gap="sm">
      {needed.map(input)}
      {early.map(input)}
      {folded.length === 0 && rest.map(input)}
      {folded.length > 0 && (
        <>
          <Button
            variant="subtle"
            color="gray"
            w="fit-content"
            leftSection={opened || wrong ? <IconChevronDown size={15} /> : <IconChevronRight size={15} />}
            aria-expanded={opened || wrong}
            onClick={fold.toggle}
          >
            {t("form.more", { count: folded.length })}
          </Button>
          <Collapse expanded={opened || wrong}>
            <Stack gap="sm">{folded.map(input)}</Stack>
          </Collapse>
        </>
      )}
    </Stack>
  );
}
