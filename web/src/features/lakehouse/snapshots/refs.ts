import type { QueryResult } from "~/api/types";

/** A name that keeps a snapshot from expiring. */
export interface Ref {
  name: string;
  kind: "tag" | "branch";
  snapshot_id: string;
}

/** Reads `refs`; `main` is the table itself and is left out. */
export function refsOf({ columns, rows }: QueryResult): Ref[] {
  const place = (name: string) => columns.findIndex((column) => column.name === name);
  const [name, kind, snapshot] = [place("name"), place("type"), place("snapshot_id")];
  return rows
    .map((row) => ({ name: String(row[name]), kind: String(row[kind]).toLowerCase() === "tag" ? ("tag" as const) : ("branch" as const), snapshot_id: String(row[snapshot]) }))
    .filter((ref) => ref.name !== "main");
}

/** Why a name cannot be given, or undefined. */
export function refFault(name: string, refs: Ref[]): "empty" | "taken" | "number" | "letters" | undefined {
  const text = name.trim();
  if (text === "") return "empty";
  if (!/^[\p{L}\p{N}_\-./ ]+$/u.test(text)) return "letters";
  // Behind `FOR VERSION AS OF` digits mean the id of a snapshot.
  if (/^\d+$/.test(text)) return "number";
  return text === "main" || refs.some((ref) => ref.name === text) ? "taken" : undefined;
}
