import type { ImportPlan, ImportRequest } from "~/api/imports";
import type { MessageKey } from "~/i18n";

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
  format: "", delimiter: "", header: "", encoding: "", nulls: undefined, infer_all: false, only_new: false, types: {}, key: [], partition_by: "", on_error: "fail",
};

export const FORMATS = ["csv", "json", "parquet"];
export const COLUMN_TYPES = ["boolean", "int32", "int64", "float32", "float64", "decimal(18,2)", "string", "date", "timestamp", "timestamptz", "json"];
export const ENCODINGS = ["utf-8", "utf-16", "gb18030", "gbk"];
export const DELIMITERS = [",", ";", "\t", "|"];

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

/** The request of a draft. What is not chosen is left out, so that it is found out. */
export function requestOf(draft: ImportDraft): ImportRequest {
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
  return {
    path: draft.path.trim(),
    into: `${draft.namespace.trim()}.${draft.table.trim()}`,
    mode: draft.mode,
    ...(draft.format === "" ? {} : { format: draft.format }),
    ...(isText && Object.keys(csv).length > 0 ? { csv } : {}),
    ...(columns.length > 0 ? { columns } : {}),
    ...(draft.mode === "append" && draft.only_new ? { only_new: true } : {}),
    ...(draft.infer_all ? { infer_rows: 0 } : {}),
    ...(partitions.length > 0 ? { partition_by: partitions } : {}),
    ...(draft.key.length > 0 ? { key: draft.key } : {}),
    ...(draft.on_error === "fail" ? {} : { on_error: draft.on_error }),
    ...(draft.place === "s3" && Object.keys(s3).length > 0 ? { s3 } : {}),
  };
}

/** Columns of a plan as the sample is shown, with the types that were chosen. */
export const sampleColumns = (plan: ImportPlan, types: Record<string, string>) => plan.columns.map(({ name, type }) => ({ name, type: types[name] ?? type }));
