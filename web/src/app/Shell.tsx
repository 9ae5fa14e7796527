import { Burger, Drawer } from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Outlet, useRouter, useRouterState } from "@tanstack/react-router";
import { lazy, Suspense, useEffect } from "react";
import { followEvents } from "~/api/live";
import { queries } from "~/api/queries";
import { ErrorNote } from "~/components/ErrorNote";
import { useT } from "~/i18n";
import { LoginScreen } from "~/features/access/pages/LoginScreen";
import { client } from "./client";
import { Rail } from "./Rail";
import { useShortcuts } from "./shortcuts";
import { PendingScreen } from "./screens";
import { TopBar } from "./TopBar";
import { Mark } from "./Mark";
import classes from "./Shell.module.css";

const ShortcutHelp = lazy(() => import("./ShortcutHelp"));
const CommandPalette = lazy(() => import("./CommandPalette"));

/** The frame around every page: rail, bar, command palette, live connection. */
export function Shell() {
  const t = useT();
  const session = useQuery(queries.session);
  const [menu, setMenu] = useDisclosure();
  const [palette, setPalette] = useDisclosure();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const [help, setHelp] = useDisclosure();
  const router = useRouter();
  useHotkeys([["mod+K", setPalette.toggle]], []);
  useShortcuts((shortcut) => {
    if (shortcut.type === "go") return router.history.push(shortcut.href);
    if (shortcut.type === "help") return setHelp.open();
    // The search of the page, else the one of everything.
    const search = document.querySelector<HTMLInputElement>("main input[type=search]");
    if (search) search.focus();
    else setPalette.open();
  });
  const closeMenu = setMenu.close;
  useEffect(() => closeMenu(), [path, closeMenu]);

  const locked = session.data?.authentication_required === true && session.data.user === null;
  const open = session.data !== undefined && !locked;
  useEffect(() => (open ? followEvents(client) : undefined), [open]);

  if (session.error && !session.data) {
    return (
      <main className={classes.alone}>
        <ErrorNote error={session.error} onRetry={() => void session.refetch()} />
      </main>
    );
  }
  if (!session.data) return null;
  if (locked) return <LoginScreen session={session.data} />;

  return (
    <div className={classes.shell}>
      <a className={classes.skip} href="#content">
        {t("nav.skip")}
      </a>
      <aside className={classes.rail}>
        <Rail session={session.data} />
      </aside>
      <Drawer.Root opened={menu} onClose={setMenu.close} size={250}>
        <Drawer.Overlay backgroundOpacity={0.35} />
        <Drawer.Content aria-label={t("nav.menu")}>
          <Drawer.Body p={0}>
            <Rail session={session.data} />
          </Drawer.Body>
        </Drawer.Content>
      </Drawer.Root>
      <div className={classes.main}>
        <TopBar
          session={session.data}
          onSearch={setPalette.open}
          onHelp={setHelp.open}
          menu={
            <div className={classes.burger}>
              <Burger opened={menu} onClick={setMenu.toggle} size="sm" aria-label={t("nav.menu")} />
              <Mark size={22} />
            </div>
          }
        />
        <main id="content" className={classes.content} tabIndex={-1}>
          <Suspense fallback={<PendingScreen />}>
            <Outlet />
          </Suspense>
        </main>
      </div>
      {help && (
        <Suspense fallback={null}>
          <ShortcutHelp onClose={setHelp.close} />
        </Suspense>
      )}
      {palette && (
        <Suspense fallback={null}>
          <CommandPalette onClose={setPalette.close} />
        </Suspense>
      )}
    </div>
  );
}
