/** Where things are in the console. */
const segment = encodeURIComponent;

function withView(path: string, view: Record<string, string | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(view)) if (value) search.set(key, value);
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export const paths = {
  overview: "/",
  sources: (view?: { state?: string; sort?: string }) => withView("/sources", view),
  newSource: (view?: { type?: string; edit?: string }) => withView("/sources/new", view),
  source: (name: string, tab?: string) => withView(`/sources/${segment(name)}`, { tab }),
  topics: (view?: { sort?: string; source?: string }) => withView("/topics", view),
  topic: (name: string, tab?: string) => withView(`/topics/${segment(name)}`, { tab }),
  tables: (view?: { sort?: string }) => withView("/tables", view),
  newTable: "/tables/new",
  importTable: (view?: { id?: string; into?: string }) => withView("/tables/import", view),
  /** `name` is `namespace.table`. */
  table: (name: string, view?: { tab?: string; snapshot?: string; open?: string; compare?: string }) => {
    const dot = name.indexOf(".");
    return withView(`/tables/${segment(name.slice(0, dot))}/${segment(name.slice(dot + 1))}`, view);
  },
  /** `name` is `namespace.view`. */
  view: (name: string) => {
    const dot = name.indexOf(".");
    return `/views/${segment(name.slice(0, dot))}/${segment(name.slice(dot + 1))}`;
  },
  sql: (view?: { q?: string; side?: string; run?: string }) => withView("/sql", view),
  resources: (view?: { kind?: string; tab?: string }) => withView("/resources", view),
  newResource: "/resources/new",
  resource: (kind: string, name: string) => `/resources/${segment(kind)}/${segment(name)}`,
  revision: (revision: number) => `/resources/revisions/${revision}`,
  access: (tab?: string) => withView("/access", { tab }),
};
