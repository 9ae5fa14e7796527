import type { TableField } from "~/api/types";

const written = (field: TableField) => `${field.name} ${field.type}`;

/** What turned one schema into the next, a line each. Columns are told apart by their id, so a renamed one stays itself. */
export function schemaChanges(before: TableField[], after: TableField[]): string[] {
  const old = new Map(before.map((field) => [field.id, field]));
  const kept = new Set(after.map((field) => field.id));
  const changed = after.flatMap((field) => {
    const was = old.get(field.id);
    if (!was) return [`+ ${written(field)}`];
    return written(was) === written(field) ? [] : [`${written(was)} → ${written(field)}`];
  });
  return [...changed, ...before.filter((field) => !kept.has(field.id)).map((field) => `− ${written(field)}`)];
}
