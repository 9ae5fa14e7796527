import type { Completion as Suggestion, CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import { PostgreSQL, sql, type SQLNamespace } from "@codemirror/lang-sql";
import type { Extension } from "@codemirror/state";
import type { Completion } from "~/api/types";

/** Tables as a tree of namespaces, so that `flights.` offers its tables and a table its columns. */
function namespaces(completion: Completion): SQLNamespace {
  const tree: Record<string, Record<string, Suggestion[]>> = {};
  for (const table of completion.tables) {
    const dot = table.name.indexOf(".");
    const namespace = dot < 0 ? "" : table.name.slice(0, dot);
    const tables = (tree[namespace] ??= {});
    tables[table.name.slice(dot + 1)] = table.columns.map((column) => ({
      label: column.name,
      detail: column.type,
      type: "property",
    }));
  }
  const { "": bare = {}, ...named } = tree;
  return { ...named, ...bare };
}

/** SQL with the server's tables, columns and functions. */
export function sqlLanguage(completion: Completion | undefined): Extension {
  if (!completion) return sql({ dialect: PostgreSQL, upperCaseKeywords: true });
  const options: Suggestion[] = [
    ...completion.functions.map((one) => ({
      label: one.name,
      detail: one.signature,
      info: one.description,
      type: "function",
      apply: `${one.name}(`,
    })),
    // Columns are offered anywhere: a query is often written before its FROM.
    ...[...new Map(completion.tables.flatMap((table) => table.columns.map((c) => [c.name, c.type] as const)))].map(
      ([label, detail]) => ({ label, detail, type: "property", boost: 1 }),
    ),
  ];
  const complete = (context: CompletionContext): CompletionResult | null => {
    const word = context.matchBefore(/\w+/);
    if (!word && !context.explicit) return null;
    const before = context.state.sliceDoc(Math.max(0, (word?.from ?? context.pos) - 1), word?.from ?? context.pos);
    if (before === ".") return null;
    return { from: word?.from ?? context.pos, options, validFor: /^\w*$/ };
  };
  return [
    sql({ dialect: PostgreSQL, schema: namespaces(completion), upperCaseKeywords: true }),
    PostgreSQL.language.data.of({ autocomplete: complete }),
  ];
}
