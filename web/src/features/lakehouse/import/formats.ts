/** What files can be. The one list of formats: names are those of the API. */
export const FORMATS = [
  { id: "csv", label: "CSV", endings: ["csv", "tsv", "txt"], packed: true, since: "first" },
  { id: "json", label: "JSON", endings: ["json", "ndjson", "jsonl"], packed: true, since: "first" },
  { id: "parquet", label: "Parquet", endings: ["parquet"], packed: false, since: "first" },
  { id: "avro", label: "Avro", endings: ["avro"], packed: false, since: "later" },
  { id: "orc", label: "ORC", endings: ["orc"], packed: false, since: "later" },
  { id: "excel", label: "Excel", endings: ["xlsx", "xls"], packed: false, since: "later" },
  { id: "delta", label: "Delta Lake", endings: [], packed: false, since: "later" },
  { id: "iceberg", label: "Iceberg", endings: [], packed: false, since: "later" },
] as const;

export type Format = (typeof FORMATS)[number];

/** What the server can do beyond what each does. */
export interface Abilities {
  /** Files may stay where they are. */
  register: boolean;
  /** Names of the formats that it reads. */
  formats: string[];
}

interface OpenApi {
  paths?: Record<string, unknown>;
  components?: { schemas?: { ImportRequest?: { properties?: Record<string, { description?: string } | undefined> } } };
}

/** Reads what a server can do from its own description, which names each format in backticks. */
export function abilitiesOf(api: OpenApi | undefined): Abilities {
  const properties = api?.components?.schemas?.ImportRequest?.properties;
  const named = (field: string, word: string) => properties?.[field]?.description?.includes(`\`${word}\``) ?? false;
  return {
    register: named("mode", "register"),
    formats: FORMATS.filter(({ id, since }) => since === "first" || named("format", id)).map(({ id }) => id),
  };
}

/** Formats to choose from. One that was found is among them, whatever it is. */
export function choices({ formats }: Abilities): { value: string; label: string }[] {
  return FORMATS.filter(({ id }) => formats.includes(id)).map(({ id, label }) => ({ value: id, label }));
}

/** How people call a format; one that is not known here keeps its name. */
export const labelOf = (format: string): string => FORMATS.find(({ id }) => id === format)?.label ?? format;

const ARROW: Record<string, string> = { Utf8: "string", LargeUtf8: "string", Utf8View: "string", Date32: "date", Binary: "binary", BinaryView: "binary" };

/** A type as imports call it; files that have types of their own bring the names of Arrow. */
export function typeLabel(type: string): string {
  const decimal = /^Decimal(?:128|256)\((\d+), ?(-?\d+)\)$/.exec(type);
  if (decimal) return `decimal(${decimal[1]},${decimal[2]})`;
  if (/^Timestamp\(/.test(type)) return /None\)$/.test(type) || !/,/.test(type) ? "timestamp" : "timestamptz";
  return ARROW[type] ?? (/^(Boolean|U?Int\d+|Float\d+)$/.test(type) ? type.toLowerCase() : type);
}

/** Endings of files that may be chosen, as a browser wants them. */
export function endingsOf({ formats }: Abilities): string {
  const known = FORMATS.filter(({ id }) => formats.includes(id));
  return [...known.flatMap(({ endings }) => endings), "gz"].map((ending) => `.${ending}`).join(",");
}
