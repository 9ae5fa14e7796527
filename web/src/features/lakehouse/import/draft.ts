import type { ImportPlan, ImportRequest } from "~/api/imports";
import type { MessageKey } from "~/i18n";
import { type Abilities, typeLabel } from "./formats";

export type Place = "upload" | "path" | "s3";

/** What was entered; empty texts mean: find out. */
export interface ImportDraft {
  place: Place;
  path: string;
  /** Of the uploaded file, as it was called. */
  file: string;
  endpoint: string;
  region: string;
  access_key_id: string;
  secret: string;
  allow_http: boolean;
  namespace: string;
  table: string;
  mode: "create" | "append" | "replace";
  format: string;
  /** Of Excel; empty: the first sheet, all of it. */
  sheet: string;
  range: string;
  /** Of a table of another lake: a version, snapshot, branch or time; empty: as it is now. */
  version: string;
  /** Files stay where they are. */
  register: boolean;
  delimiter: string;
  header: "" | "yes" | "no";
  encoding: string;
  /** Texts that mean null, with commas between; `undefined`: find out. */
  nulls: string | undefined;
  infer_all: boolean;
  /** Of `append`: files that were imported into the table before are left out. */
  only_new: boolean;
  types: Record<string, string>;
  key: string[];
  partition_by: string;
  on_error: "fail" | "skip" | "quarantine";
}

export const EMPTY: ImportDraft = {
  place: "upload", path: "", file: "", endpoint: "", region: "", access_key_id: "", secret: "", allow_http: false, namespace: "", table: "", mode: "create",
  format: "", sheet: "", range: "", version: "", register: false, delimiter: "", header: "", encoding: "", nulls: undefined, infer_all: false, only_new: false, types: {}, key: [], partition_by: "", on_error: "fail",
};

export const COLUMN_TYPES = ["boolean", "int32", "int64", "float32", "float64", "decimal(18,2)", "string", "date", "timestamp", "timestamptz", "json"];
export const ENCODINGS = ["utf-8", "utf-16", "gb18030", "gbk"];
export const DELIMITERS = [",", ";", "\t", "|"];

const UPLOAD = /^upload:\/\/[^/]+\//;

/** A path as people know it: an uploaded file by its own name. */
export const shownPath = (path: string): string => path.replace(UPLOAD, "");

/** A draft that begins with what the address names: a table to add to, or an import to be made again. */
export function draftOf({ into, path, mode }: { into?: string | undefined; path?: string | undefined; mode?: string | undefined }): ImportDraft {
  const [namespace = "", table = ""] = (into ?? "").split(".");
  const known = (["create", "append", "replace"] as const).find((one) => one === mode);
  const place = path === undefined ? "upload" : UPLOAD.test(path) ? "upload" : /^s3a?:/.test(path) ? "s3" : "path";
  return { ...EMPTY, namespace, table, mode: known ?? (table ? "append" : "create"), place, path: path ?? "", file: place === "upload" ? shownPath(path ?? "") : "" };
}

/** What was chosen about files that are no longer meant. */
export const OF_FILES = { sheet: "", range: "", version: "", register: false, delimiter: "", header: "" as const, encoding: "", nulls: undefined, types: {}, key: [] };

/** A name for a table, from the name of a file or folder. */
export function tableNameOf(path: string): string {
  const last = path.replace(/\/+$/, "").split("/").at(-1) ?? "";
  const plain = last.replace(/\.(gz|zst|zstd)$/i, "").replace(/\.\w{1,8}$/, "");
  const name = plain.normalize("NFKC").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "_").replace(/^_+|_+$/g, "");
  return /^\d/.test(name) ? `t_${name}` : name;
}

/** Faults of the first step, by field. */
export function faultsOf(draft: ImportDraft): Record<string, MessageKey> {
  const faults: Record<string, MessageKey> = {};
  if (draft.path.trim() === "") faults.path = draft.place === "upload" ? "import.fault.file" : "import.fault.path";
  else if (draft.place === "s3" && !/^s3a?:\/\/[^/]+/.test(draft.path.trim())) faults.path = "import.fault.s3";
  if (draft.access_key_id.trim() !== "" && draft.secret === "" && draft.place === "s3") faults.secret = "import.fault.secret";
  if (draft.namespace.trim() === "") faults.namespace = "form.fault.namespace";
  if (draft.table.trim() === "") faults.table = "form.fault.name";
  return faults;
}

/** Splits at commas that are not within brackets, such as those of `bucket(16, id)`. */
export function splitFields(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((one) => one.trim()).filter((one) => one !== "");
}

/** Which state of a table of another lake is meant: digits are a version or a snapshot. */
function versionOf(format: string, text: string): Pick<ImportRequest, "delta" | "iceberg"> {
  const digits = /^\d+$/.test(text);
  if (format === "delta") return { delta: digits ? { version: Number(text) } : { timestamp: text } };
  return { iceberg: digits ? { snapshot: text } : { ref: text } };
}

/** Whether types of such files are found out from texts. */
export const isText = (format: string): boolean => ["csv", "json", "excel"].includes(format);

/** Whether files may stay where they are: Parquet that the server reaches at any time, and a table that keeps its rows. */
export const mayRegister = (plan: Pick<ImportPlan, "format">, draft: ImportDraft, abilities: Abilities): boolean =>
  abilities.register && plan.format === "parquet" && draft.place !== "upload" && draft.mode !== "replace";

/** The request of a draft. What is not chosen is left out, so that it is found out. */
export function requestOf(draft: ImportDraft, found = ""): ImportRequest {
  const format = draft.format || found;
  const csv = {
    ...(draft.delimiter === "" ? {} : { delimiter: draft.delimiter }),
    ...(draft.header === "" ? {} : { header: draft.header === "yes" }),
    ...(draft.encoding === "" ? {} : { encoding: draft.encoding }),
    ...(draft.nulls === undefined ? {} : { null: draft.nulls.split(",").map((text) => text.trim()) }),
  };
  const isText = draft.format === "" || draft.format === "csv";
  const text = (value: string) => value.trim() !== "";
  const s3 = {
    ...(text(draft.endpoint) ? { endpoint: draft.endpoint.trim() } : {}),
    ...(text(draft.region) ? { region: draft.region.trim() } : {}),
    ...(text(draft.access_key_id) ? { access_key_id: draft.access_key_id.trim() } : {}),
    ...(draft.secret === "" ? {} : { secret_access_key: { secret: draft.secret } }),
    ...(draft.allow_http ? { allow_http: true } : {}),
  };
  const columns = Object.entries(draft.types).map(([name, type]) => ({ name, type }));
  const partitions = splitFields(draft.partition_by);
  const excel = { ...(text(draft.sheet) ? { sheet: draft.sheet.trim() } : {}), ...(text(draft.range) ? { range: draft.range.trim() } : {}) };
  const lake = (format === "delta" || format === "iceberg") && text(draft.version);
  return {
    path: draft.path.trim(),
    into: `${draft.namespace.trim()}.${draft.table.trim()}`,
    mode: draft.register ? "register" : draft.mode,
    ...(draft.format === "" ? {} : { format: draft.format }),
    ...(isText && Object.keys(csv).length > 0 ? { csv } : {}),
    ...(format === "excel" && Object.keys(excel).length > 0 ? { excel } : {}),
    ...(lake ? versionOf(format, draft.version.trim()) : {}),
    ...(columns.length > 0 && !draft.register ? { columns } : {}),
    ...(draft.mode === "append" && draft.only_new ? { only_new: true } : {}),
    ...(draft.infer_all ? { infer_rows: 0 } : {}),
    // Registered files are laid out as they lie, and nobody looks whether a key occurs twice in them.
    ...(partitions.length > 0 && !draft.register ? { partition_by: partitions } : {}),
    ...(draft.key.length > 0 && !draft.register ? { key: draft.key } : {}),
    ...(draft.on_error === "fail" || draft.register ? {} : { on_error: draft.on_error }),
    ...(draft.place === "s3" && Object.keys(s3).length > 0 ? { s3 } : {}),
  };
}

/** Columns of a plan as the sample is shown, with the types that were chosen. */
export const sampleColumns = (plan: ImportPlan, types: Record<string, string>) => plan.columns.map(({ name, type }) => ({ name, type: typeLabel(types[name] ?? type) }));
