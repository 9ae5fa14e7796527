import { parse, stringify } from "yaml";
import type { Json } from "~/api/types";

/** The resource document of a source as YAML. */
export function sourceDocument(name: string, type: string, config: Record<string, Json>): string {
  return stringify({ kind: "source", name, spec: { type, ...config } }, { lineWidth: 0 });
}

/** The configuration of an example or of a running source, without its type. */
export function configOf(spec: Json | string): Record<string, Json> {
  const value = typeof spec === "string" ? (parse(spec) as unknown) : spec;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  const { type: _, ...config } = value as Record<string, Json>;
  return config;
}

/** A source's name is part of topic, table and file names. */
export const NAME_PATTERN = /^[a-z][a-z0-9_]{0,62}$/;
