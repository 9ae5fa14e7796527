import type { Json, JsonSchema } from "~/api/types";

/** A JSON Schema, reduced to what a form can draw. */
export type Field = {
  title: string;
  description?: string | undefined;
  default?: Json | undefined;
  /** What the field may look like, shown while it is empty. */
  example?: string | undefined;
} & Shape;

export type Shape =
  | { kind: "text"; multiline: boolean; pattern?: string | undefined; minLength?: number | undefined }
  | { kind: "number"; integer: boolean; min?: number | undefined; max?: number | undefined }
  | { kind: "boolean" }
  | { kind: "choice"; options: Option[] }
  | { kind: "secret" }
  | { kind: "list"; item: Field; minItems: number }
  | { kind: "group"; fields: Record<string, Field>; required: string[] }
  | { kind: "map"; value: Field }
  | { kind: "variant"; options: Variant[] }
  | { kind: "json" };

export interface Option {
  value: Json;
  label: string;
  description?: string | undefined;
}

export interface Variant {
  label: string;
  description?: string | undefined;
  /** Fields that say which variant a value is, such as `{type: "csv"}`. */
  tag: Record<string, Json>;
  field: Field;
}

const ABBREVIATIONS = new Set(["api", "ca", "csv", "gtid", "http", "https", "id", "json", "lsn", "sql", "ssl", "tls", "uri", "url", "utc", "xml", "yaml"]);

/** `slot_name` as `Slot name`, `base_url` as `Base URL`. */
export function humanise(name: string): string {
  const words = name.trim().split(/[_ ]+/).map((word) => (ABBREVIATIONS.has(word) ? word.toUpperCase() : word));
  const text = words.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const isNull = (schema: JsonSchema) => schema.type === "null" || schema.const === null;

function typeOf(schema: JsonSchema): string | undefined {
  if (!Array.isArray(schema.type)) return schema.type;
  const types = schema.type.filter((type) => type !== "null");
  return types.length === 1 ? types[0] : undefined;
}

const isRecord = (value: unknown): value is Record<string, Json> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Merges `allOf` of one and drops `null` from `anyOf` and `oneOf`: both say "optional" in a roundabout way. */
function unwrap(schema: JsonSchema): JsonSchema {
  const choices = (schema.anyOf ?? schema.oneOf)?.filter((choice) => !isNull(choice));
  const only = schema.allOf?.length === 1 ? schema.allOf[0] : choices?.length === 1 ? choices[0] : undefined;
  if (!only) return choices ? { ...schema, anyOf: undefined, oneOf: choices } as JsonSchema : schema;
  const { anyOf: _any, oneOf: _one, allOf: _all, ...outer } = schema;
  return unwrap({ ...only, ...outer });
}

function optionsOf(schema: JsonSchema): Option[] | undefined {
  if (schema.enum) {
    return schema.enum.filter((value) => value !== null).map((value) => ({ value, label: String(value) }));
  }
  const choices = schema.oneOf;
  if (!choices?.every((choice) => choice.const !== undefined || choice.enum)) return undefined;
  return choices.flatMap((choice) =>
    (choice.enum ?? [choice.const as Json]).map((value) => ({
      value,
      label: choice.title ?? String(value),
      description: choice.description,
    })),
  );
}

function variantOf(choice: JsonSchema, index: number): Variant {
  const tag: Record<string, Json> = {};
  const properties: Record<string, JsonSchema> = {};
  for (const [name, property] of Object.entries(choice.properties ?? {})) {
    const fixed = property.const ?? (property.enum?.length === 1 ? property.enum[0] : undefined);
    if (fixed !== undefined) tag[name] = fixed;
    else properties[name] = property;
  }
  const required = choice.required?.filter((name) => !(name in tag));
  const named = choice.title ?? Object.values(tag).map(String).join(" ");
  // An externally tagged variant has one field, which names it.
  const label = named || Object.keys(properties)[0] || typeOf(choice) || String(index + 1);
  const field = choice.properties
    ? fieldOf({ ...choice, properties, ...(required ? { required } : {}) }, label)
    : fieldOf(choice, label);
  return { label: humanise(label), description: choice.description, tag, field };
}

function shapeOf(schema: JsonSchema): Shape {
  if (schema.format === "secret" || schema.writeOnly) return { kind: "secret" };
  const options = optionsOf(schema);
  if (options) return { kind: "choice", options };
  if (schema.oneOf) return { kind: "variant", options: schema.oneOf.map(variantOf) };
  switch (typeOf(schema)) {
    case "string":
      return {
        kind: "text",
        multiline: schema.format === "multiline" || schema.format === "sql",
        pattern: schema.pattern,
        minLength: schema.minLength,
      };
    case "integer":
    case "number":
      return { kind: "number", integer: typeOf(schema) === "integer", min: schema.minimum, max: schema.maximum };
    case "boolean":
      return { kind: "boolean" };
    case "array":
      return { kind: "list", item: fieldOf(schema.items ?? { type: "string" }, ""), minItems: schema.minItems ?? 0 };
    case "object": {
      if (schema.properties) {
        const entries = Object.entries(schema.properties).map(([name, property]) => [name, fieldOf(property, name)] as const);
        return { kind: "group", fields: Object.fromEntries(entries), required: schema.required ?? [] };
      }
      const value = isRecord(schema.additionalProperties) ? (schema.additionalProperties as JsonSchema) : { type: "string" };
      return { kind: "map", value: fieldOf(value, "") };
    }
    default:
      return { kind: "json" };
  }
}

/** Reduces a schema. `name` is the title where the schema has none. */
export function fieldOf(outer: JsonSchema, name: string): Field {
  const schema = unwrap(outer);
  const example = schema.examples?.[0];
  return {
    title: schema.title ?? humanise(name),
    description: schema.description,
    default: schema.default ?? undefined,
    example: example === undefined ? undefined : typeof example === "string" ? example : JSON.stringify(example),
    ...shapeOf(schema),
  };
}

/** Which variant a value is: the first whose tag agrees, else the first whose shape could hold it. */
export function variantIndex(options: Variant[], value: Json | undefined): number {
  if (value === undefined) return -1;
  const tagged = options.findIndex((option) => {
    const tags = Object.entries(option.tag);
    return tags.length > 0 && isRecord(value) && tags.every(([name, fixed]) => value[name] === fixed);
  });
  if (tagged >= 0) return tagged;
  return options.findIndex((option) => {
    if (Object.keys(option.tag).length > 0) return false;
    if (option.field.kind === "group") {
      const fields = option.field.fields;
      return isRecord(value) && Object.keys(value).some((name) => name in fields);
    }
    if (option.field.kind === "text") return typeof value === "string";
    if (option.field.kind === "number") return typeof value === "number";
    if (option.field.kind === "boolean") return typeof value === "boolean";
    return option.field.kind === "list" ? Array.isArray(value) : option.field.kind === "map" && isRecord(value);
  });
}
