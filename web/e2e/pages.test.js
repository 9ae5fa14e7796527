// Every page in both languages, both themes and on a phone: it renders, says nothing on the console, passes axe.
// `SHOTS=1` writes pictures of all, else only of what fails; `ONLY=sql,tables` restricts the pages.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { axeFaults, cutOff, drawn, isMock, launch, look, SHOTS, sideways, untranslated } from "./browser.js";

const QUERY = encodeURIComponent("SELECT origin, count(*) AS flights, round(avg(dep_delay), 1) AS delay_minutes\nFROM nyc.flights\nGROUP BY origin\nORDER BY delay_minutes DESC");
const BY_DAY = encodeURIComponent("SELECT date_trunc('day', scheduled_departure) AS day,\n       count(*) AS flights,\n       count(*) - count(departure) AS not_departed\nFROM nyc.flights\nGROUP BY 1\nORDER BY 1");
const WRONG = encodeURIComponent("SELECT *\nFROM nyc.fligths");

const gridcell = (page) => page.getByRole("gridcell").first().waitFor();
const alert = (page) => page.getByRole("alert").first().waitFor();
const fails = (pattern, status, body) => (page) =>
  page.route(pattern, (route) => route.fulfill({ status, contentType: "application/json", body: JSON.stringify({ error: body }) }));

/** What is done on a page before it is looked at. */
async function toReview(page) {
  await page.getByRole("textbox", { name: "Name" }).fill("orders");
  await page.getByLabel("Url").fill("postgres://tarn@db.example:5432/shop");
  await page.getByRole("combobox", { name: "Tables" }).fill("public.orders");
  await page.keyboard.press("Enter");
  await page.getByLabel("Password").selectOption("shop_password");
  await page.getByRole("button", { name: "Test connection" }).click();
  await page.getByText(/3 tables found/).waitFor();
  await page.getByRole("button", { name: "Review", exact: true }).click();
  await page.getByLabel("Changes of orders").waitFor();
}
async function wrongFields(page) {
  await page.getByRole("button", { name: "Review", exact: true }).click();
  await page.getByText("Correct the marked fields first.").waitFor();
  await page.getByLabel("Url").fill("postgres://tarn@127.0.0.1:5432/shop");
  await page.getByRole("combobox", { name: "Tables" }).fill("public.orders");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Test connection" }).click();
  await page.getByLabel("fails").waitFor();
}
async function changePlan(page) {
  const editor = page.getByRole("textbox", { name: "Document" });
  await editor.click();
  await editor.fill("kind: source\nname: nyc\nspec:\n  type: replay\n  path: data\n  speed: 7200\n");
  await page.getByRole("button", { name: "Show what changes" }).click();
  await page.getByText("+  speed: 7200").waitFor();
}
/** Longer than the editor is high, so that it scrolls. */
async function longDocument(page) {
  const editor = page.getByRole("textbox", { name: "Document" });
  await editor.click();
  await editor.fill(`kind: source\nname: long\nspec:\n${Array.from({ length: 60 }, (_, line) => `  field_${line}: ${line}`).join("\n")}\n`);
  await page.waitForFunction(() => {
    const scroller = document.querySelector(".cm-scroller");
    return scroller.scrollHeight > scroller.clientHeight;
  });
}
async function plan(page) {
  await gridcell(page);
  await page.getByRole("button", { name: "Explain" }).click();
  await page.locator("pre", { hasText: /Scan|Exec/ }).waitFor();
}

/** Wrong on purpose: a column without a name. */
async function draftTable(page) {
  await page.getByLabel("Namespace").fill("crm");
  await page.getByRole("button", { name: "Add a column" }).click();
  await page.getByRole("button", { name: "Add a partition field" }).click();
  await page.getByRole("button", { name: "Set a property" }).click();
  await page.getByRole("button", { name: "Create a table" }).click();
  await page.getByText("Correct what is marked.").waitFor();
}

async function importPlan(page) {
  await page.getByText("Path", { exact: true }).click();
  await page.getByLabel("Path of the files").fill("data/sales/*.csv.gz");
  await page.getByLabel("Namespace").fill("shop");
  await page.getByRole("textbox", { name: "Table" }).fill("item");
  await page.getByLabel("How", { exact: true }).selectOption("replace");
  await page.getByRole("button", { name: "Look at the files" }).click();
  await page.getByRole("button", { name: "Import", exact: true }).waitFor();
}
async function importDone(page) {
  await importPlan(page);
  await page.getByLabel("Rows that cannot be read").selectOption("quarantine");
  await page.getByRole("button", { name: "Import", exact: true }).click();
  await page.getByText("The table holds what the files hold").waitFor();
}

/** Opens the newest snapshot and compares it with the oldest. */
async function compareEnds(page) {
  const boxes = page.getByRole("checkbox", { name: /^Compare snapshot/ });
  await boxes.first().check();
  await boxes.last().check();
  await gridcell(page);
  await page.getByRole("listitem").first().getByRole("button", { expanded: false }).first().click();
}

/** name, path, and what only a mock can show (`mock`), what its console may say (`says`), what to wait for or to do. */
const PAGES = [
  ["overview", "/", { fresh: true }],
  ["sources", "/sources"],
  ["source", "/sources/nyc"],
  ["source-failing", "/sources/shop", { mock: true }],
  ["source-history", "/sources/nyc?tab=history"],
  ["source-dead-letters", "/sources/nyc?tab=dead-letters"],
  ["source-config", "/sources/nyc?tab=spec"],
  ["source-types", "/sources/new"],
  ["source-form", "/sources/new?type=postgres_cdc"],
  ["source-form-wrong", "/sources/new?type=postgres_cdc", { mock: true, act: wrongFields }],
  ["source-review", "/sources/new?type=postgres_cdc", { mock: true, act: toReview }],
  ["topics", "/topics"],
  ["topic", "/topics/nyc.flights"],
  ["topic-schema", "/topics/nyc.flights?tab=schema"],
  ["topic-partitions", "/topics/nyc.flights?tab=partitions"],
  ["topic-consumers", "/topics/nyc.flights?tab=consumers"],
  ["tables", "/tables"],
  ["table", "/tables/nyc/flights", { act: gridcell }],
  ["table-snapshots", "/tables/nyc/flights?tab=snapshots"],
  ["table-item-snapshots", "/tables/shop/item?tab=snapshots", { mock: true, act: compareEnds }],
  ["table-schema", "/tables/nyc/flights?tab=schema"],
  ["table-new", "/tables/new", { act: draftTable }],
  ["import", "/tables/import", { mock: true, act: (page) => page.getByRole("button", { name: "Look at the files" }).click() }],
  ["import-plan", "/tables/import", { mock: true, act: importPlan }],
  ["import-done", "/tables/import", { mock: true, act: importDone }],
  ["table-item-schema", "/tables/shop/item?tab=schema&open=1", { mock: true, act: (page) => page.getByRole("columnheader", { name: "Smallest" }).waitFor() }],
  ["table-files", "/tables/nyc/flights?tab=files"],
  ["table-item-files", "/tables/shop/item?tab=files&colour=small", { mock: true, act: (page) => page.locator("main canvas").waitFor() }],
  ["table-item-services", "/tables/shop/item?tab=services", { mock: true, act: (page) => page.locator("main canvas").waitFor() }],
  ["table-stands-still", "/tables/shop/invoice", { mock: true, act: gridcell }],
  ["view", "/views/shop/per_region", { mock: true, act: gridcell }],
  ["view-missing", "/views/shop/nothing", { mock: true, act: alert, says: /404/ }],
  ["table-properties", "/tables/nyc/flights?tab=properties"],
  ["sql", "/sql"],
  ["sql-result", `/sql?run=1&q=${QUERY}`, { act: gridcell }],
  ["sql-chart", `/sql?run=1&show=chart&side=examples&q=${QUERY}`, { act: (page) => page.locator("main canvas").waitFor() }],
  ["sql-line", `/sql?run=1&show=chart&side=history&q=${BY_DAY}`, { act: (page) => page.locator("main canvas").waitFor() }],
  ["sql-plan", `/sql?run=1&q=${QUERY}`, { act: plan }],
  ["sql-error", `/sql?run=1&q=${WRONG}`, { act: alert, says: /400/ }],
  ["resources", "/resources"],
  ["resource", "/resources/source/nyc"],
  ["resource-plan", "/resources/source/nyc", { mock: true, act: changePlan }],
  ["resource-new", "/resources/new"],
  ["resource-long", "/resources/new", { act: longDocument }],
  ["revisions", "/resources?tab=revisions"],
  ["revision", "/resources/revisions/1"],
  ["access", "/access"],
  ["access-keys", "/access?tab=keys"],
  ["access-secrets", "/access?tab=secrets"],
  ["access-audit", "/access?tab=audit"],
  ["not-found", "/nowhere", { headless: true }],
  ["source-missing", "/sources/no_such", { act: alert, says: /404/ }],
  ["source-alike", "/sources/nycc", { act: (page) => page.getByRole("alert").getByRole("link", { name: "nyc", exact: true }).waitFor(), says: /404/ }],
  ["login", "/", { mock: true, world: "locked" }],
  ["overview-empty", "/", { mock: true, world: "empty", fresh: true }],
  ["overview-inbox", "/", { mock: true, world: "inbox", fresh: true }],
  ["source-push", "/sources/inbox", { mock: true, world: "inbox" }],
  ["sources-empty", "/sources", { mock: true, world: "empty" }],
  ["topics-empty", "/topics", { mock: true, world: "empty" }],
  ["tables-empty", "/tables", { mock: true, world: "empty" }],
  ["sql-empty", "/sql", { mock: true, world: "empty" }],
  ["resources-empty", "/resources", { mock: true, world: "empty" }],
  ["tables-broken", "/tables", { mock: true, says: /503/, act: alert, prepare: fails(/\/api\/v1\/lakehouse$/, 503, { kind: "unavailable", message: "catalog `default` does not answer", hint: "Start PostgreSQL, or correct `[meta] url`." }) }],
  // Without the server there is no bar to change the language in.
  ["server-gone", "/", { mock: true, headless: true, language: "en", says: /Failed to load|ERR_/, act: alert, prepare: (page) => page.route(/\/api\/v1\//, (route) => route.abort()) }],
];

const WIDE = { width: 1280 };
const PHONE = { width: 390, height: 844 };
/** One page passes them in this order, so that each step changes little; each language, theme and size meets two of the others. */
const LOOKS = [
  { language: "en", theme: "light", ...WIDE, axe: true },
  { language: "zh-CN", theme: "dark", ...WIDE, axe: ["color-contrast"] },
  { language: "zh-CN", theme: "light", ...PHONE },
  { language: "en", theme: "dark", ...PHONE, axe: true },
];

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** One profile per kind of start, so that files are loaded and compiled once. */
const contexts = new Map();
async function contextFor(fresh) {
  if (!contexts.has(fresh)) contexts.set(fresh, await browser.context({ fresh }));
  return contexts.get(fresh);
}

const only = process.env.ONLY ? process.env.ONLY.split(",") : undefined;

for (const [name, path, options = {}] of PAGES) {
  if ((options.mock && !isMock) || (only && !only.includes(name))) continue;
  test(name, async (context) => {
    const { page, errors, close } = await browser.openIn(await contextFor(options.fresh ?? false), path, options);
    const faults = [];
    const note = (title, found) => faults.push(...found.map((one) => `${title}: ${one}`));
    try {
      await page.locator("main").waitFor();
      if (!options.headless) await page.getByRole("heading", { level: 1 }).waitFor();
      await drawn(page);
      await options.act?.(page);
      for (const one of LOOKS.filter(({ language }) => language === (options.language ?? language))) {
        const title = [name, one.language, one.theme, one.width].join("-");
        await look(page, one);
        const before = faults.length;
        if (one.axe) note(title, await axeFaults(page, one.axe === true ? undefined : one.axe));
        if (one.language === "zh-CN") note(title, await untranslated(page));
        note(title, await sideways(page));
        note(title, await cutOff(page));
        if (process.env.SHOTS || faults.length > before) await page.screenshot({ path: `${SHOTS}${title}.png`, fullPage: true });
      }
      // The next page starts where this one did.
      await look(page, LOOKS[0]);
      note(name, errors.filter((error) => !options.says?.test(error)));
    } catch (error) {
      await page.screenshot({ path: `${SHOTS}${name}-stopped.png` }).catch(() => context.diagnostic("no picture"));
      throw error;
    } finally {
      await close();
    }
    assert.deepEqual(faults, []);
  });
}
