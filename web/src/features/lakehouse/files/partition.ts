import type { TableDetail } from "~/api/types";

type Spec = TableDetail["partition_spec"];

const two = (value: number) => String(value).padStart(2, "0");
const HOUR_MS = 3_600_000;

/** A time since 1970 that a transform counted, as people write it; a text that is no count stays. */
function timeOf(transform: string, text: string): string {
  if (!/^-?\d+$/.test(text)) return text;
  const count = Number(text);
  if (transform === "year") return Math.abs(count) < 1000 ? String(1970 + count) : text;
  if (transform === "month") return `${1970 + Math.floor(count / 12)}-${two((((count % 12) + 12) % 12) + 1)}`;
  if (transform !== "day" && transform !== "hour") return text;
  const date = new Date(transform === "day" ? count * 24 * HOUR_MS : count * HOUR_MS);
  if (Number.isNaN(date.getTime())) return text;
  return date.toISOString().slice(0, transform === "day" ? 10 : 13).replace("T", " ");
}

/** A path below the table's own place without it; the whole path elsewhere. */
export function relative(path: string, location: string): string {
  const place = `${location.replace(/\/$/, "")}/`;
  return path.startsWith(place) ? path.slice(place.length) : path;
}

/** A partition as files are laid out by it, such as `region=eu/at_month=672`, with its times as people write them. */
export function partitionText(partition: string | null, spec: Spec): string {
  if (!partition) return "";
  return partition
    .split("/")
    .map((part) => {
      const [name = "", ...rest] = part.split("=");
      const field = spec.find((one) => one.name === name);
      if (!field || rest.length === 0) return part;
      return `${name}=${timeOf(field.transform, rest.join("="))}`;
    })
    .join("/");
}

/** The values alone, where there is little room. */
export const partitionValues = (partition: string, spec: Spec): string =>
  partitionText(partition, spec)
    .split("/")
    .map((part) => part.slice(part.indexOf("=") + 1))
    .join(" · ");
