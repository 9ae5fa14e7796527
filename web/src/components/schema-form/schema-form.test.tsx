import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { useState } from "react";
import { afterEach, describe, expect, it } from "vitest";
import type { Json, JsonSchema } from "~/api/types";
import { type Dictionary, I18nContext } from "~/i18n";
import en from "~/i18n/en.json";
import { fieldOf, variantIndex } from "./schema";
import { SchemaForm } from "./SchemaForm";
import { prune, validate } from "./validate";

const SCHEMA: JsonSchema = {
  type: "object",
  required: ["url", "tables"],
  properties: {
    url: { type: "string", description: "Address.", pattern: "^postgres://" },
    tables: { type: "array", minItems: 1, items: { type: "string" } },
    password: { format: "secret", type: ["object", "null"], default: null },
    rows_max: { type: ["integer", "null"], minimum: 1, maximum: 100, default: 10 },
    tls: { anyOf: [{ type: "string", enum: ["prefer", "require"] }, { type: "null" }] },
    mode: { oneOf: [{ const: "initial", description: "Copy first." }, { const: "never" }], default: "initial" },
    options: { type: "object", additionalProperties: { type: "string" } },
    format: {
      oneOf: [
        { type: "object", required: ["type", "delimiter"], properties: { type: { const: "csv" }, delimiter: { type: "string" } } },
        { type: "object", required: ["type"], properties: { type: { const: "json" } } },
      ],
    },
  },
};

function group(schema: JsonSchema) {
  const field = fieldOf(schema, "config");
  if (field.kind !== "group") throw new Error("not a group");
  return field;
}
const FIELD = group(SCHEMA);

describe("fieldOf", () => {
  it("recognises each kind of schema", () => {
    const kinds = Object.fromEntries(Object.entries(FIELD.fields).map(([name, field]) => [name, field.kind]));
    expect(kinds).toEqual({
      url: "text",
      tables: "list",
      password: "secret",
      rows_max: "number",
      tls: "choice",
      mode: "choice",
      options: "map",
      format: "variant",
    });
  });

  it("names what has no title", () => {
    expect(FIELD.fields.rows_max?.title).toBe("Rows max");
  });

  it("finds the variant by its tag", () => {
    const format = FIELD.fields.format;
    if (format?.kind !== "variant") throw new Error("not a variant");
    expect(variantIndex(format.options, { type: "json" })).toBe(1);
    expect(variantIndex(format.options, { type: "xml" })).toBe(-1);
  });
});

describe("validate", () => {
  const good = { url: "postgres://db", tables: ["public.orders"] };

  it("accepts what is complete", () => {
    expect(validate(FIELD, good)).toEqual({});
  });

  it("says what is missing at its place", () => {
    expect(validate(FIELD, {})).toEqual({ url: { key: "form.required" }, tables: { key: "form.required" } });
  });

  it("checks pattern, bounds, choices and nested values", () => {
    const errors = validate(FIELD, { ...good, url: "mysql://db", rows_max: 101, tls: "never", format: { type: "csv" } });
    expect(Object.fromEntries(Object.entries(errors).map(([path, error]) => [path, error.key]))).toEqual({
      url: "form.pattern",
      rows_max: "form.too_large",
      tls: "form.not_choice",
      "format.delimiter": "form.required",
    });
    expect(validate(FIELD, { ...good, rows_max: 1.5 })).toHaveProperty("rows_max.key", "form.not_integer");
    expect(validate(FIELD, { ...good, options: { "": "x" } })).toHaveProperty(["options."]);
  });
});

describe("prune", () => {
  it("leaves only what was chosen", () => {
    const value: Json = { url: "postgres://db", tables: ["a", ""], rows_max: 10, tls: "", password: null, format: { type: "csv", delimiter: ";" } };
    expect(prune(FIELD, value)).toEqual({ url: "postgres://db", tables: ["a"], format: { type: "csv", delimiter: ";" } });
  });
});

function Form() {
  const [value, setValue] = useState<Record<string, Json>>({});
  const simple = group({ ...SCHEMA, properties: { url: SCHEMA.properties?.url ?? {}, rows_max: SCHEMA.properties?.rows_max ?? {}, tls: SCHEMA.properties?.tls ?? {} }, required: ["url"] });
  return (
    <>
      <SchemaForm field={simple} value={value} onChange={setValue} errors={validate(simple, value)} />
      <output>{JSON.stringify(value)}</output>
    </>
  );
}

describe("SchemaForm", () => {
  afterEach(cleanup);
  const show = () =>
    render(
      <I18nContext.Provider value={{ language: "en", dictionary: en as Dictionary, change: () => undefined }}>
        <MantineProvider>
          <QueryClientProvider client={new QueryClient()}>
            <Form />
          </QueryClientProvider>
        </MantineProvider>
      </I18nContext.Provider>,
    );

  it("writes what is typed and says what is wrong beside it", () => {
    show();
    const url = screen.getByLabelText(/URL/);
    expect(screen.getByText("Fill this in.")).toBeTruthy();
    fireEvent.change(url, { target: { value: "mysql://x" } });
    expect(screen.getByText("Write it in the form ^postgres://.")).toBeTruthy();
    fireEvent.change(url, { target: { value: "postgres://x" } });
    expect(screen.queryByText(/Write it in the form/)).toBeNull();
    fireEvent.change(screen.getByLabelText(/TLS/), { target: { value: "require" } });
    expect(screen.getByText('{"url":"postgres://x","tls":"require"}')).toBeTruthy();
  });

  it("takes a field away when it is emptied", () => {
    show();
    const url = screen.getByLabelText(/URL/);
    fireEvent.change(url, { target: { value: "postgres://x" } });
    fireEvent.change(url, { target: { value: "" } });
    expect(screen.getByText("{}")).toBeTruthy();
  });
});
