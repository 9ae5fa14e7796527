import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { ErrorScreen, NotFoundScreen, PendingScreen } from "./screens";
import { Shell } from "./Shell";
import { parseView, stringifyView, type View } from "~/components/view";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: NotFoundScreen,
  // View state is plain strings; each page reads what it knows.
  validateSearch: (search): View => search as View,
});

const page = <P extends string>(path: P, load: () => Promise<{ default: React.ComponentType }>) =>
  createRoute({ getParentRoute: () => root, path, component: lazyRouteComponent(load) });

const tree = root.addChildren([
  page("/", () => import("~/features/overview/pages/OverviewPage")),
  page("/sources", () => import("~/features/ingest/pages/SourceListPage")),
  page("/sources/new", () => import("~/features/ingest/pages/SourceFormPage")),
  page("/sources/$name", () => import("~/features/ingest/pages/SourcePage")),
  page("/topics", () => import("~/features/eventlog/pages/TopicListPage")),
  page("/topics/$name", () => import("~/features/eventlog/pages/TopicPage")),
  page("/tables", () => import("~/features/lakehouse/pages/TableListPage")),
  page("/tables/new", () => import("~/features/lakehouse/pages/TableFormPage")),
  page("/tables/import", () => import("~/features/lakehouse/pages/ImportPage")),
  page("/tables/$namespace/$table", () => import("~/features/lakehouse/pages/TablePage")),
  page("/views/$namespace/$view", () => import("~/features/lakehouse/pages/ViewPage")),
  page("/sql", () => import("~/features/query/pages/SqlPage")),
  page("/resources", () => import("~/features/resource/pages/ResourceListPage")),
  page("/resources/new", () => import("~/features/resource/pages/ResourcePage")),
  page("/resources/revisions/$revision", () => import("~/features/resource/pages/RevisionPage")),
  page("/resources/$kind/$name", () => import("~/features/resource/pages/ResourcePage")),
  page("/access", () => import("~/features/access/pages/AccessPage")),
]);

export const router = createRouter({
  routeTree: tree,
  // `?n=1` stays the text `1`: a name that looks like a number must not change on its way through the URL.
  parseSearch: parseView,
  stringifySearch: stringifyView,
  defaultPendingComponent: PendingScreen,
  defaultErrorComponent: ErrorScreen,
  defaultPendingMs: 120,
  defaultPendingMinMs: 200,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
