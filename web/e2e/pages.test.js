// Every page in both languages, both themes and on a phone: it renders, says nothing on the console, passes axe.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { axeFaults, isMock, launch, SHOTS, sideways, untranslated } from "./browser.js";

const QUERY = encodeURIComponent("SELECT origin, count(*) AS flights, round(avg(dep_delay), 1) AS delay_minutes\nFROM nyc.flights\nGROUP BY origin\nORDER BY delay_minutes DESC");

const PAGES = [
  ["overview", "/"],
  ["sources", "/sources"],
  ["source", "/sources/nyc"],
  ["source-failing", "/sources/shop", { mock: true }],
  ["source-dead-letters", "/sources/nyc?tab=dead-letters"],
  ["source-types", "/sources/new"],
  ["source-form", "/sources/new?type=postgres_cdc"],
  ["topics", "/topics"],
  ["topic", "/topics/nyc.flights"],
  ["topic-consumers", "/topics/nyc.flights?tab=consumers"],
  ["tables", "/tables"],
  ["table", "/tables/nyc/flights"],
  ["table-snapshots", "/tables/nyc/flights?tab=snapshots"],
  ["table-schema", "/tables/nyc/flights?tab=schema"],
  ["table-files", "/tables/nyc/flights?tab=files"],
  ["table-properties", "/tables/nyc/flights?tab=properties"],
  ["sql", "/sql"],
  ["sql-result", `/sql?run=1&q=${QUERY}`],
  ["sql-chart", `/sql?run=1&show=chart&side=examples&q=${QUERY}`],
  ["resources", "/resources"],
  ["resource", "/resources/source/nyc"],
  ["revisions", "/resources?tab=revisions"],
  ["revision", "/resources/revisions/1"],
  ["access", "/access"],
  ["access-secrets", "/access?tab=secrets"],
  ["access-audit", "/access?tab=audit"],
  ["not-found", "/nowhere"],
];

const LOOKS = [
  { language: "en", theme: "light" },
  { language: "en", theme: "dark" },
  { language: "zh-CN", theme: "light" },
  { language: "zh-CN", theme: "dark" },
  { language: "en", theme: "light", width: 390, height: 844 },
  { language: "zh-CN", theme: "dark", width: 390, height: 844 },
];

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** One profile per look, so that files are loaded and compiled once. */
const contexts = new Map();
async function openIn(look, path) {
  if (!contexts.has(look)) contexts.set(look, await browser.context({ ...look, fresh: true }));
  return browser.openIn(contexts.get(look), path);
}

const only = process.env.ONLY ? process.env.ONLY.split(",") : undefined;

for (const look of LOOKS) {
  for (const [name, path, options = {}] of PAGES) {
    if ((options.mock && !isMock) || (only && !only.includes(name))) continue;
    const title = [name, look.language, look.theme, look.width ?? "wide"].join("-");
    test(title, async () => {
      const { page, errors, close } = await openIn(look, path);
      try {
        await page.locator("main").waitFor();
        if (name !== "not-found") await page.getByRole("heading", { level: 1 }).waitFor();
        await page.waitForFunction(() => !document.querySelector('main [aria-label="Loading"], main [aria-label="加载中"], .mantine-Skeleton-root'));
        await page.waitForTimeout(name === "sql-chart" ? 1000 : 200);
        await page.screenshot({ path: `${SHOTS}${title}.png`, fullPage: true });
        assert.deepEqual(errors, [], "the console says nothing");
        assert.deepEqual(await axeFaults(page), [], "axe finds nothing serious");
        if (look.language === "zh-CN") assert.deepEqual(await untranslated(page), [], "no English is left");
        assert.deepEqual(await sideways(page), [], "the page cannot be pushed sideways");
      } finally {
        await close();
      }
    });
  }
}
