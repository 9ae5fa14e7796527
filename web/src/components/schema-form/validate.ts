import type { Json } from "~/api/types";
import type { MessageKey, Params } from "~/i18n";
import { type Field, variantIndex } from "./schema";

export interface FieldError {
  key: MessageKey;
  params?: Params;
}

/** Errors by path, such as `tables.0`. The path of the whole is empty. */
export type FieldErrors = Record<string, FieldError>;

export const join = (path: string, name: string | number): string => (path === "" ? String(name) : `${path}.${name}`);

const isEmpty = (value: Json | undefined): boolean => value === undefined || value === null || value === "";

/** Checks a value before the server does. Errors say what to do. */
export function validate(field: Field, value: Json | undefined, required = true, path = ""): FieldErrors {
  if (isEmpty(value)) {
    if (field.kind === "group" && required) return validateGroup(field, {}, path);
    return required ? { [path]: { key: "form.required" } } : {};
  }
  const one = (key: MessageKey, params?: Params): FieldErrors => ({ [path]: params ? { key, params } : { key } });
  switch (field.kind) {
    case "text":
      if (typeof value !== "string") return one("form.not_text");
      if (field.minLength !== undefined && value.length < field.minLength) return one("form.too_short", { min: field.minLength });
      return field.pattern && !safeTest(field.pattern, value) ? one("form.pattern", { pattern: field.pattern }) : {};
    case "number":
      if (typeof value !== "number" || !Number.isFinite(value)) return one("form.not_number");
      if (field.integer && !Number.isInteger(value)) return one("form.not_integer");
      if (field.min !== undefined && value < field.min) return one("form.too_small", { min: field.min });
      return field.max !== undefined && value > field.max ? one("form.too_large", { max: field.max }) : {};
    case "choice":
      return field.options.some((option) => option.value === value) ? {} : one("form.not_choice");
    case "list":
      return validateList(field, value, path);
    case "group":
      return validateGroup(field, value, path);
    case "map":
      return validateMap(field, value, path);
    case "variant": {
      const chosen = field.options[variantIndex(field.options, value)];
      return chosen ? validate(chosen.field, value, true, path) : one("form.not_choice");
    }
    default:
      return {};
  }
}

function validateList(field: Field & { kind: "list" }, value: Json | undefined, path: string): FieldErrors {
  if (!Array.isArray(value)) return { [path]: { key: "form.not_list" } };
  if (value.length < field.minItems) return { [path]: { key: "form.too_few", params: { min: field.minItems } } };
  return Object.assign({}, ...value.map((item, index) => validate(field.item, item, true, join(path, index)))) as FieldErrors;
}

function validateMap(field: Field & { kind: "map" }, value: Json | undefined, path: string): FieldErrors {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { [path]: { key: "form.not_map" } };
  const found = Object.entries(value).map(([name, item]) =>
    name.trim() === ""
      ? { [join(path, name)]: { key: "form.name_missing" as const } }
      : validate(field.value, item, true, join(path, name)),
  );
  return Object.assign({}, ...found) as FieldErrors;
}

function validateGroup(field: Field & { kind: "group" }, value: Json | undefined, path: string): FieldErrors {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { [path]: { key: "form.not_map" } };
  const found = Object.entries(field.fields).map(([name, child]) => {
    // What has a default may stay empty though the schema calls it required.
    const needed = field.required.includes(name) && child.default === undefined;
    return validate(child, value[name], needed, join(path, name));
  });
  return Object.assign({}, ...found) as FieldErrors;
}

/** A pattern of the server may use what this browser does not know; then the server decides. */
function safeTest(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return true;
  }
}

/** The value without what was left empty or equals the default, so that the document says only what was chosen. */
export function prune(field: Field, value: Json | undefined): Json | undefined {
  if (isEmpty(value)) return undefined;
  if (field.kind === "group" && typeof value === "object" && value !== null && !Array.isArray(value)) {
    const kept: Record<string, Json> = {};
    for (const [name, child] of Object.entries(value)) {
      const known = field.fields[name];
      const pruned = known ? prune(known, child) : child;
      if (pruned === undefined) continue;
      const isDefault = known !== undefined && JSON.stringify(pruned) === JSON.stringify(known.default);
      if (!isDefault) kept[name] = pruned;
    }
    return kept;
  }
  if (field.kind === "variant") {
    const chosen = field.options[variantIndex(field.options, value)];
    if (!chosen) return value;
    const pruned = prune(chosen.field, value);
    return chosen.field.kind === "group" && typeof pruned === "object" ? { ...chosen.tag, ...(pruned as object) } : pruned;
  }
  if (field.kind === "list" && Array.isArray(value)) {
    return value.map((item) => prune(field.item, item)).filter((item) => item !== undefined);
  }
  return value;
}
