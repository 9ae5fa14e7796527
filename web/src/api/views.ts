import { queryOptions } from "@tanstack/react-query";
import { request } from "./client";
import { change, read } from "./lakehouse";
import { ident } from "./sql";

/** A view as lists show it. */
export interface ViewSummary {
  /** `namespace.view`. */
  name: string;
  namespace: string;
  view: string;
}

export interface ViewVersion {
  id: number;
  at_ms: number;
  sql: string;
  dialect: string;
  /** The program that wrote it, as it named itself. */
  writer: string | undefined;
  /** Where names without a namespace are looked for. */
  namespace: string | undefined;
  fields: ViewField[];
}

export interface ViewField {
  id: number;
  name: string;
  type: string;
  doc: string | undefined;
}

export interface ViewDetail {
  comment: string | undefined;
  current: ViewVersion;
  /** Newest first, with the current one. */
  versions: ViewVersion[];
}

type IcebergType = string | { type: "list"; element: IcebergType } | { type: "map"; key: IcebergType; value: IcebergType } | { type: "struct"; fields: { name: string; type: IcebergType }[] };

/** What the Iceberg REST catalog tells of a view, as far as it is shown. */
export interface IcebergView {
  metadata: {
    "current-version-id": number;
    versions: {
      "version-id": number;
      "schema-id": number;
      "timestamp-ms": number;
      summary: Record<string, string>;
      representations: { type: string; sql: string; dialect: string }[];
      "default-namespace"?: string[];
    }[];
    schemas: { "schema-id": number; fields: { id: number; name: string; type: IcebergType; doc?: string }[] }[];
    properties?: Record<string, string>;
  };
}

/** A type as it is written in a list of columns. */
export function typeText(type: IcebergType): string {
  if (typeof type === "string") return type;
  if (type.type === "list") return `list<${typeText(type.element)}>`;
  if (type.type === "map") return `map<${typeText(type.key)}, ${typeText(type.value)}>`;
  return `struct<${type.fields.map((field) => `${field.name}: ${typeText(field.type)}`).join(", ")}>`;
}

/** Our own SQL where a view has it, else the first. */
const OURS = "tarn";

export function viewOf({ metadata }: IcebergView): ViewDetail | undefined {
  const versions = metadata.versions
    .toSorted((a, b) => b["version-id"] - a["version-id"])
    .map((version): ViewVersion => {
      const text = version.representations.find((one) => one.dialect === OURS) ?? version.representations[0];
      const schema = metadata.schemas.find((one) => one["schema-id"] === version["schema-id"]);
      const { "engine-name": name, "engine-version": number } = version.summary;
      return {
        id: version["version-id"],
        at_ms: version["timestamp-ms"],
        sql: text?.sql ?? "",
        dialect: text?.dialect ?? "",
        writer: name && number ? `${name} ${number}` : name,
        namespace: version["default-namespace"]?.join("."),
        fields: (schema?.fields ?? []).map(({ id, name: column, type, doc }) => ({ id, name: column, type: typeText(type), doc })),
      };
    });
  const current = versions.find((version) => version.id === metadata["current-version-id"]);
  return current && { comment: metadata.properties?.comment, current, versions };
}

const segment = encodeURIComponent;

export const viewQueries = {
  list: queryOptions({
    queryKey: ["lakehouse", "views"] as const,
    queryFn: async ({ signal }): Promise<ViewSummary[]> => {
      const { rows } = await read("SELECT table_schema, table_name FROM information_schema.views ORDER BY 1, 2", signal);
      return rows.map(([namespace, view]) => ({ name: `${namespace}.${view}`, namespace: String(namespace), view: String(view) }));
    },
    refetchInterval: 15_000,
    retry: false,
  }),
  one: (namespace: string, view: string) =>
    queryOptions({
      queryKey: ["lakehouse", "view", namespace, view] as const,
      queryFn: async ({ signal }): Promise<ViewDetail | null> => viewOf(await request<IcebergView>(`/v1/namespaces/${segment(namespace)}/views/${segment(view)}`, { signal, base: "/iceberg" })) ?? null,
      refetchInterval: 10_000,
      retry: false,
    }),
  rows: (namespace: string, view: string, version: number) =>
    queryOptions({
      queryKey: ["lakehouse", "view-rows", namespace, view, version] as const,
      queryFn: ({ signal }) => read(`SELECT * FROM ${ident(namespace)}.${ident(view)} LIMIT 100`, signal),
      retry: false,
    }),
};

/** The statement that makes the view what a version of it was. */
export const replaceViewSql = (namespace: string, view: string, { fields, sql }: Pick<ViewVersion, "fields" | "sql">): string =>
  `CREATE OR REPLACE VIEW ${ident(namespace)}.${ident(view)} (${fields.map(({ name }) => ident(name)).join(", ")}) AS\n${sql}`;

export const dropViewSql = (namespace: string, view: string): string => `DROP VIEW ${ident(namespace)}.${ident(view)}`;
export const dropView = (namespace: string, view: string) => change(dropViewSql(namespace, view));
