// A real Chromium before a real page. `TARN_URL` names the server; without it each test file starts its own mock.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { start } from "../mock/server.js";
import { leftEnglish } from "./untranslated.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const SHOTS = fileURLToPath(new URL("./screenshots/", import.meta.url));
mkdirSync(SHOTS, { recursive: true });

export const isMock = !process.env.TARN_URL;
if (isMock && !existsSync(new URL("../dist/index.html", import.meta.url))) {
  throw new Error("no build found: run `npm run build` first");
}
/** How long anything may take on a busy machine; nothing waits this long when it works. */
export const PATIENCE_MS = 30_000;

/** One browser. `world` chooses what a mock knows; a real server has but one world. */
export async function launch() {
  const mocks = new Map();
  const urlOf = async (world) => {
    if (process.env.TARN_URL) return process.env.TARN_URL;
    if (!mocks.has(world)) mocks.set(world, await start(0, world));
    return mocks.get(world).url;
  };
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-gpu", "--no-first-run"],
    timeout: PATIENCE_MS * 2,
  });
  return {
    url: await urlOf("demo"),
    context: (look) => newContext(browser, look),
    open: async (path, look = {}, prepare) => {
      const context = await newContext(browser, look);
      return { ...(await open(context, (await urlOf(look.world ?? "demo")) + path, prepare)), close: () => context.close() };
    },
    openIn: async (context, path, { world = "demo", prepare } = {}) => open(context, (await urlOf(world)) + path, prepare),
    close: async () => {
      await browser.close();
      for (const mock of mocks.values()) mock.stop();
    },
  };
}

/** Opens a page, does something, and asks that the console said nothing but `expected`. */
export async function visit(browser, path, look, work, expected = /^$/) {
  const { page, errors, close } = await browser.open(path, look);
  try {
    await work(page);
    assert.deepEqual(errors.filter((error) => !expected.test(error)), []);
  } finally {
    await close();
  }
}

/** A browser profile with a language, a theme and a size. */
async function newContext(browser, { language = "en", theme = "light", width = 1280, height = 800, fresh = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion: "reduce", colorScheme: theme, bypassCSP: true });
  await context.addInitScript(
    ([chosen, seen]) => {
      if (localStorage.getItem("tarn-language")) return;
      localStorage.setItem("tarn-language", chosen);
      if (seen) localStorage.setItem("tarn-three-things", JSON.stringify("closed"));
    },
    [language, !fresh],
  );
  return context;
}

/** Opens a page. `errors` collects what the console said; `prepare` may route requests before the first one. */
async function open(context, url, prepare) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await prepare?.(page);
  await page.goto(url, { waitUntil: "domcontentloaded" });
  return { page, errors, close: () => page.close() };
}

/** Changes language, theme or size of an open page as a person would, and waits until it is drawn. */
export async function look(page, { language, theme, width, height = 800 }) {
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
  const html = page.locator("html");
  if ((await html.getAttribute("lang")) !== language) await page.locator(`button[lang="${language}"]`).first().click();
  await page.locator(`html[lang="${language}"][data-mantine-color-scheme="${theme}"]`).waitFor();
  await drawn(page);
}

/** Waits until nothing loads and two frames are drawn. */
export async function drawn(page) {
  await page.locator("main").waitFor();
  await page.waitForFunction(() => !document.querySelector('main [aria-label="Loading"], main [aria-label="加载中"], .mantine-Skeleton-root'));
  await page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))));
}

/** Serious faults that axe finds, as lines. `rules` restricts it to some. */
export async function axeFaults(page, rules) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(AXE);
  const options = { resultTypes: ["violations"], ...(rules ? { runOnly: { type: "rule", values: rules } } : {}) };
  const { violations } = await page.evaluate((chosen) => globalThis.axe.run(document, chosen), options);
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")} ${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`));
}

/** Whether the page can be pushed sideways, and what sticks out. */
export async function sideways(page) {
  return page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
      .filter((element) => element.getBoundingClientRect().right > width + 1)
      .map((element) => `${element.tagName}.${element.className}`)
      .slice(0, 5);
  });
}

/** Words of buttons, tabs, badges and headings that are cut off. */
export async function cutOff(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("main button, main h1, main h2, main [role=tab], main th, main dt, main dd, header button")]
      .filter((element) => element.checkVisibility() && getComputedStyle(element).overflow !== "visible" && element.scrollWidth > element.clientWidth + 1)
      .map((element) => `${element.tagName} ${element.textContent.trim().slice(0, 60)}`)
      .slice(0, 5),
  );
}

/** English texts that a Chinese page still shows. */
export const untranslated = (page) => page.evaluate(leftEnglish);
