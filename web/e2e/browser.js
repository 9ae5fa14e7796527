// A real Chromium before a real page. `TARN_URL` names the server; without it each test file starts its own mock.
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

export async function launch() {
  const mock = isMock ? await start() : undefined;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-gpu", "--no-first-run"],
  });
  const url = process.env.TARN_URL ?? mock.url;
  return {
    url,
    context: (look) => newContext(browser, look),
    open: async (path, look) => {
      const context = await newContext(browser, look);
      return { ...(await open(context, url, path)), close: () => context.close() };
    },
    openIn: (context, path) => open(context, url, path),
    close: async () => {
      await browser.close();
      mock?.stop();
    },
  };
}

/** A browser profile with a language, a theme and a size. */
async function newContext(browser, { language = "en", theme = "light", width = 1280, height = 860, fresh = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion: "reduce", bypassCSP: true });
  await context.addInitScript(
    ([chosen, scheme, seen]) => {
      if (localStorage.getItem("tarn-language")) return;
      localStorage.setItem("tarn-language", chosen);
      localStorage.setItem("mantine-color-scheme-value", scheme);
      if (seen) localStorage.setItem("tarn-three-things", JSON.stringify("closed"));
    },
    [language, theme, !fresh],
  );
  return context;
}

/** Opens a page. `errors` collects what the console said. */
async function open(context, url, path) {
  const page = await context.newPage();
  page.setDefaultTimeout(8000);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  await page.goto(url + path);
  return { page, errors, close: () => page.close() };
}

/** Serious faults that axe finds, as lines. */
export async function axeFaults(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
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

/** English texts that a Chinese page still shows. */
export const untranslated = (page) => page.evaluate(leftEnglish);
