import { expect, it } from "vitest";
import { PAGES } from "./Rail";
import { GO, shortcutOf, takesKeys } from "./shortcuts";

it("goes to a page by g and its letter, and only then", () => {
  expect(shortcutOf("g", false)).toBe("prefix");
  expect(shortcutOf("s", true)).toEqual({ type: "go", href: "/sources" });
  expect(shortcutOf("s", false)).toBeNull();
  expect(shortcutOf("x", true)).toBeNull();
});

it("has a letter of its own for every page of the menu", () => {
  expect(GO.map((one) => one.href)).toEqual(PAGES.map((page) => page.href));
  expect(new Set(GO.map((one) => one.key)).size).toBe(GO.length);
});

it("searches and helps", () => {
  expect(shortcutOf("/", false)).toEqual({ type: "search" });
  expect(shortcutOf("?", false)).toEqual({ type: "help" });
});

it("leaves keys to what is typed into", () => {
  document.body.innerHTML = '<input id="a"><div role="dialog"><button id="b"></button></div><button id="c"></button>';
  expect(["a", "b", "c"].map((id) => takesKeys(document.getElementById(id)))).toEqual([true, true, false]);
});
