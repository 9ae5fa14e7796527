import type { TableField } from "~/api/types";

/** One thing that is different about a column from one schema to the next. */
export interface ColumnChange {
  kind: "added" | "dropped" | "renamed" | "type" | "optional" | "required" | "moved" | "doc";
  /** As it is called afterwards; of a dropped one as it was called. */
  column: string;
  before?: string;
  after?: string;
}

/** What turned one schema into the next. Columns are told apart by their id, so a renamed one stays itself. */
export function schemaChanges(before: TableField[], after: TableField[]): ColumnChange[] {
  const old = new Map(before.map((field) => [field.id, field]));
  const kept = new Set(after.map((field) => field.id));
  const changes: ColumnChange[] = [];
  for (const [place, field] of after.entries()) {
    const was = old.get(field.id);
    const column = field.name;
    if (!was) {
      const neighbour = after[place - 1]?.name;
      changes.push({ kind: "added", column, after: field.type, ...(place < after.length - 1 && neighbour ? { before: neighbour } : {}) });
      continue;
    }
    if (was.name !== field.name) changes.push({ kind: "renamed", column, before: was.name, after: field.name });
    if (was.type !== field.type) changes.push({ kind: "type", column, before: was.type, after: field.type });
    if (was.required !== field.required) changes.push({ kind: field.required ? "required" : "optional", column });
    if ((was.doc ?? "") !== (field.doc ?? "")) changes.push({ kind: "doc", column, after: field.doc ?? "" });
  }
  changes.push(...movedOf(before.filter(({ id }) => kept.has(id)), after.filter(({ id }) => old.has(id))));
  return [...changes, ...before.filter((field) => !kept.has(field.id)).map((field): ColumnChange => ({ kind: "dropped", column: field.name, before: field.type }))];
}

/** Columns that stand elsewhere: those outside the longest run that kept its order. */
function movedOf(before: TableField[], after: TableField[]): ColumnChange[] {
  const place = new Map(before.map((field, index) => [field.id, index]));
  const ranks = after.map((field) => place.get(field.id) ?? 0);
  const best: number[] = [];
  const from: (number | undefined)[] = [];
  for (const [index, rank] of ranks.entries()) {
    let length = 1;
    for (let earlier = 0; earlier < index; earlier += 1) {
      const step = (best[earlier] ?? 0) + 1;
      if ((ranks[earlier] ?? 0) < rank && step > length) {
        length = step;
        from[index] = earlier;
      }
    }
    best[index] = length;
  }
  const kept = new Set<number>();
  for (let at: number | undefined = best.indexOf(Math.max(...best, 0)); at !== undefined && at >= 0; at = from[at]) kept.add(at);
  return after.flatMap((field, index) => {
    if (kept.has(index)) return [];
    const neighbour = after[index - 1]?.name;
    return [{ kind: "moved" as const, column: field.name, ...(neighbour ? { before: neighbour } : {}) }];
  });
}
