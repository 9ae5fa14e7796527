import { Tabs } from "@mantine/core";
import { type ReactNode, useEffect, useRef } from "react";
import classes from "./TabBar.module.css";
import { useView } from "./view";

interface Tab {
  id: string;
  label: ReactNode;
  /** How many there are behind it, as it is shown. */
  count?: ReactNode;
  content: () => ReactNode;
}

/** Tabs whose choice is in the URL; the first is the default. */
export function TabBar({ label, tabs }: { label: string; tabs: Tab[] }) {
  const [view, setView] = useView();
  const list = useRef<HTMLDivElement>(null);
  const shown = tabs.find((tab) => tab.id === view.tab) ?? tabs[0];
  const id = shown?.id;
  useEffect(() => {
    // Where the tabs are wider than the screen, the chosen one must not be cut off.
    const tab = list.current?.querySelector<HTMLElement>("[data-active]");
    if (!list.current || !tab) return;
    list.current.scrollLeft = tab.offsetLeft - (list.current.clientWidth - tab.offsetWidth) / 2;
  }, [id]);
  if (!shown) return null;
  return (
    <Tabs
      value={shown.id}
      onChange={(id) => setView({ tab: id === tabs[0]?.id ? undefined : (id ?? undefined) }, { push: true })}
      keepMounted={false}
    >
      <Tabs.List ref={list} aria-label={label} mb="md" className={classes.list}>
        {tabs.map((tab) => (
          <Tabs.Tab key={tab.id} value={tab.id} className={classes.tab}>
            {tab.label}
            {tab.count !== undefined && <span className={classes.count}>{tab.count}</span>}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      <Tabs.Panel value={shown.id}>{shown.content()}</Tabs.Panel>
    </Tabs>
  );
}
