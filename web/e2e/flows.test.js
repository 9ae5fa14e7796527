// What people do, by role and label: search, query, add a source, change and roll back, sign in.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { axeFaults, isMock, launch, visit } from "./browser.js";

/** Long enough to be cancelled before it ends. */
const SLOW = isMock
  ? "SELECT slowly FROM nyc.flights"
  : "SELECT count(*) FROM nyc.flights a CROSS JOIN nyc.flights b CROSS JOIN nyc.flights c WHERE a.flight + b.flight + c.flight = 7";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Opens a page, does something, and asks that the console said nothing but `expected`. */
const on = (path, look, work, expected) => visit(browser, path, look, work, expected);

test("the command palette goes to a table by keyboard alone", () =>
  on("/", {}, async (page) => {
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    // Opens, closes and opens again, as one does.
    await page.keyboard.press("Meta+k");
    await page.getByRole("combobox", { name: "Go to" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("combobox", { name: "Go to" }).waitFor({ state: "hidden" });
    await page.keyboard.press("Control+k");
    const input = page.getByRole("combobox", { name: "Go to" });
    await input.waitFor();
    await input.fill("weather");
    await page.getByRole("option", { name: /nyc\.weather\s*Table/ }).waitFor();
    assert.deepEqual(await axeFaults(page), []);
    const names = await page.getByRole("option").allInnerTexts();
    for (let step = names.findIndex((name) => name.includes("Table")); step > 0; step -= 1) await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "nyc.weather" }).waitFor();
  }));

test("the tab key reaches content, menu and search with a visible focus", () =>
  on("/sources", {}, async (page) => {
    await page.getByRole("heading", { level: 1 }).waitFor();
    const reached = [];
    for (let step = 0; step < 22; step += 1) {
      await page.keyboard.press("Tab");
      reached.push(
        await page.evaluate(() => {
          const element = document.activeElement;
          const style = getComputedStyle(element);
          const seen = style.outlineStyle !== "none" || style.boxShadow !== "none" || element.matches("input, select");
          return `${(element.getAttribute("aria-label") ?? element.textContent ?? "").trim().slice(0, 30)}|${seen}`;
        }),
      );
    }
    for (const wanted of ["Skip to content", "Sources", "SQL", "Add a source"]) {
      assert.ok(reached.some((one) => one.startsWith(wanted)), `${wanted} is reached: ${reached.join(", ")}`);
    }
    assert.deepEqual(reached.filter((one) => one.endsWith("|false")), []);
  }));

test("language and theme change without a reload and stay", () =>
  on("/", {}, async (page) => {
    await page.getByRole("button", { name: "Language: 中文" }).click();
    await page.getByRole("heading", { level: 1, name: "总览" }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
    await page.getByRole("button", { name: "主题：跟随系统" }).click();
    await page.getByRole("button", { name: "主题：浅色" }).click();
    await page.locator("html[data-mantine-color-scheme=dark]").waitFor();
    await page.reload();
    await page.getByRole("heading", { level: 1, name: "总览" }).waitFor();
    await page.locator("html[data-mantine-color-scheme=dark]").waitFor();
  }));

test("the figures of the overview move by themselves", () =>
  on("/", {}, async (page) => {
    await page.getByText("Live", { exact: true }).waitFor();
    const total = page.getByRole("navigation", { name: "Figures" });
    const first = await total.innerText();
    await page.waitForFunction((before) => document.querySelector('nav[aria-label="Figures"]').innerText !== before, first);
  }));

test("a query runs by Ctrl+Enter, is kept in the address, can be sorted and drawn", () =>
  on("/sql", {}, async (page) => {
    const editor = page.getByRole("textbox", { name: "SQL text" });
    await editor.click();
    await editor.fill("SELECT origin, count(*) AS flights FROM nyc.flights GROUP BY origin");
    await page.keyboard.press("Control+Enter");
    const grid = page.getByRole("grid", { name: "Result" });
    await grid.getByRole("gridcell", { name: "EWR" }).waitFor();
    await page.waitForURL(/q=SELECT/);
    await grid.getByRole("button", { name: /origin/ }).click();
    await grid.getByRole("button", { name: /origin/ }).click();
    assert.match(await grid.getByRole("row").nth(1).innerText(), /LGA/);
    await grid.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    assert.equal(await grid.getAttribute("aria-activedescendant"), "cell-0-1");
    await page.getByRole("tab", { name: "Chart" }).click();
    await page.getByRole("img", { name: /Chart of/ }).locator("canvas").waitFor();
    await page.waitForURL(/show=chart/);
    await page.getByRole("button", { name: "Explain" }).click();
    await page.getByRole("tab", { name: "Plan" }).click();
    await page.locator("pre", { hasText: /Scan|Exec/ }).waitFor();
  }));

test("an error of a query names its place and what to do", () =>
  on(
    `/sql?run=1&q=${encodeURIComponent("SELECT *\nFROM flights.fligths")}`,
    {},
    async (page) => {
      await page.getByRole("alert").getByText(/fligths/).waitFor();
      await page.locator(".cm-lint-marker-error").waitFor();
    },
    /400/,
  ));

test("completion knows tables and columns", () =>
  on("/sql", {}, async (page) => {
    const editor = page.getByRole("textbox", { name: "SQL text" });
    await editor.click();
    await page.keyboard.type("SELECT dep_de");
    await page.getByRole("option", { name: /dep_delay/ }).first().waitFor();
  }));

test("export gives a CSV file", () =>
  on(`/sql?run=1&q=${encodeURIComponent("SELECT origin FROM nyc.flights GROUP BY origin")}`, {}, async (page) => {
    await page.getByRole("button", { name: "Export" }).click();
    const download = page.waitForEvent("download");
    await page.getByRole("menuitem", { name: "CSV" }).click();
    const file = await download;
    assert.equal(file.suggestedFilename(), "tarn.csv");
    const [header, ...lines] = (await readFile(await file.path(), "utf8")).trim().split(/\r?\n/);
    assert.match(header, /^"?origin\b/);
    assert.equal(lines.length, 3);
  }));

test("a running query is cancelled on the server, too", () =>
  on(`/sql?run=1&q=${encodeURIComponent(SLOW)}`, {}, async (page) => {
    const told = page.waitForRequest((request) => request.method() === "DELETE" && /\/api\/v1\/query\//.test(request.url()));
    await page.getByRole("button", { name: "Cancel" }).click();
    await told;
    await page.getByText("The query was cancelled.").waitFor();
    await page.getByRole("button", { name: "Run", exact: true }).waitFor();
  }, /409/));

test("what was run is kept beside the editor and runs again, also after a reload", () =>
  on("/sql?side=history", {}, async (page) => {
    await page.getByText("No query yet").waitFor();
    const editor = page.getByRole("textbox", { name: "SQL text" });
    await editor.click();
    await editor.fill("SELECT count(*) FROM nyc.airlines");
    await page.keyboard.press("Control+Enter");
    await page.getByRole("gridcell", { name: "16" }).waitFor();
    await page.waitForURL(/q=SELECT/);
    await page.reload();
    await page.getByRole("button", { name: /SELECT count\(\*\) FROM nyc\.airlines.*done/ }).click();
    await page.getByRole("gridcell", { name: "16" }).waitFor();
  }));

/** What a list can be narrowed and ordered by, and what the address then says. */
const LISTS = [
  { path: "/sources", search: "Search sources", word: "ny", sort: "Rows/s", choice: ["Type", "replay"], row: "nyc" },
  { path: "/topics", search: "Search topics", word: "flight", sort: "Size", choice: ["Source", "nyc"], row: "nyc.flights" },
  { path: "/tables", search: "Search tables", word: "flight", sort: "Rows", choice: ["Namespace", "nyc"], row: "nyc.flights" },
  { path: "/resources", search: "Search resources", word: "nyc", sort: "Changed", choice: ["Kind", "source"], row: "nyc" },
];
for (const list of LISTS) {
  test(`what ${list.path} shows is in its address`, () =>
    on(list.path, {}, async (page) => {
      const [choice, value] = list.choice;
      await page.getByRole("searchbox", { name: list.search }).fill(list.word);
      await page.getByRole("combobox", { name: choice }).selectOption(value);
      await page.getByRole("button", { name: list.sort, exact: true }).click();
      await page.waitForURL((url) => url.searchParams.get("q") === list.word && url.searchParams.has("sort"));
      const seen = new URL(page.url()).search;
      await page.reload();
      await page.getByRole("link", { name: list.row, exact: true }).first().waitFor();
      assert.equal(await page.getByRole("searchbox", { name: list.search }).inputValue(), list.word);
      assert.equal(await page.getByRole("combobox", { name: choice }).inputValue(), value);
      assert.equal(await page.getByRole("columnheader", { name: list.sort }).getAttribute("aria-sort"), "descending");
      assert.equal(new URL(page.url()).search, seen);
      await page.getByRole("searchbox", { name: list.search }).fill("nothing has this name");
      await page.getByRole("button", { name: "Clear filters" }).click();
      await page.getByRole("link", { name: list.row, exact: true }).first().waitFor();
    }));
}

test("the figures lead to what they were counted from", () =>
  on("/", {}, async (page) => {
    const figures = page.getByRole("navigation", { name: "Figures" }).getByRole("link");
    await figures.first().waitFor();
    const inside = (await figures.evaluateAll((links) => links.map((link) => link.getAttribute("href")))).filter((href) => href !== "/metrics");
    assert.equal(inside.length, 5);
    for (const href of new Set(inside)) {
      await page.goto(new URL(href, page.url()).href, { waitUntil: "domcontentloaded" });
      await page.getByRole("heading", { level: 1 }).waitFor();
    }
    await page.goto(`${browser.url}/tables/nyc/flights`);
    for (const [name, tab] of [["Size", "files"], ["Last commit", "snapshots"]]) {
      const place = await page.getByText(name, { exact: true }).first().locator("xpath=..").getByRole("link").getAttribute("href");
      assert.equal(place, `/tables/nyc/flights?tab=${tab}`);
    }
  }));

test("what is wrong offers one action", { skip: !isMock }, () =>
  on("/sources/shop", {}, async (page) => {
    const fault = page.getByRole("alert");
    await fault.getByText(/connection refused/).waitFor();
    assert.deepEqual(await fault.getByRole("button").allInnerTexts(), ["Restart"]);
    assert.equal(await page.getByRole("button", { name: "Restart" }).count(), 1);
    await page.goto(browser.url);
    await page.getByRole("alert").getByRole("link", { name: "shop" }).waitFor();
    assert.equal(await page.getByRole("alert").getByRole("button").count(), 1);
    await page.getByRole("alert").getByRole("link", { name: "shop" }).click();
    await page.getByRole("heading", { level: 1, name: "shop" }).waitFor();
  }));

for (const [world, source, sets] of [["empty", "inbox", true], ["inbox", "inbox", false]]) {
  test(`a project without rows (${world}) says how to begin, and each step leads on`, { skip: !isMock }, async () => {
    const { page, errors, close } = await browser.open("/", { world, fresh: true });
    try {
      const steps = page.locator("section", { has: page.getByRole("heading", { name: "First steps" }) });
      const code = await steps.getByLabel("Push a row").innerText();
      assert.match(code, new RegExp(`curl ${page.url()}api/v1/ingest/${source}/push`));
      assert.equal(/resource\/apply/.test(code), sets);
      const places = await steps.getByRole("link").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
      assert.deepEqual(places.slice(0, 2), [sets ? "/sources/new?type=http_push" : `/sources/${source}`, "/sources/new"]);
      if (!sets) {
        await steps.getByRole("link", { name: "Open inbox" }).click();
        await page.getByText(`/api/v1/ingest/${source}/push`).waitFor();
        await page.goBack();
      }
      await steps.getByRole("link", { name: "Run a query" }).click();
      await page.getByRole("grid", { name: "Result" }).getByRole("gridcell", { name: "100", exact: true }).waitFor();
      assert.deepEqual(errors, []);
    } finally {
      await close();
    }
  });
}

/** Pages of things that are not there: what they are called, and what is alike. */
const MISSING = [
  { path: "/sources/nycc", list: "Sources", alike: "nyc" },
  { path: "/topics/nyc.fligths", list: "Topics", alike: "nyc.flights" },
  { path: "/tables/nyc/fligths", list: "Tables", alike: "nyc.flights" },
  { path: "/sources/new?edit=nycc", list: "Sources", alike: "nyc" },
  { path: "/resources/revisions/999999", list: "Revisions" },
];
for (const { path, list, alike } of MISSING) {
  test(`${path} is not there: its list and what is alike are offered`, () =>
    on(
      path,
      {},
      async (page) => {
        const note = page.getByRole("alert");
        await note.getByRole("link", { name: `Back to ${list}` }).waitFor();
        assert.equal(await page.getByRole("button", { name: "Try again" }).count(), 0);
        if (alike) await note.getByRole("link", { name: alike, exact: true }).click();
        else await note.getByRole("link", { name: `Back to ${list}` }).click();
        await note.waitFor({ state: "hidden" });
        await page.getByRole("heading", { level: 1, name: alike ?? "Resources" }).waitFor();
      },
      /404/,
    ));
}

test("a change made elsewhere appears without a reload", { skip: !isMock }, () =>
  on("/sources/nyc?tab=history", {}, async (page) => {
    await page.getByText("Live", { exact: true }).waitFor();
    await page.evaluate(() => fetch("/api/v1/ingest/nyc/pause", { method: "POST" }));
    await page.getByRole("button", { name: "Resume" }).waitFor();
    await page.evaluate(() => fetch("/api/v1/ingest/nyc/resume", { method: "POST" }));
    await page.getByRole("button", { name: "Pause" }).waitFor();
  }));

test("the kind of a source is named in Chinese, too", () =>
  on("/sources/nyc", { language: "zh-CN" }, async (page) => {
    await page.getByRole("heading", { level: 1, name: "nyc" }).waitFor();
    await page.locator("header p", { hasText: /[\u4e00-\u9fff]/ }).first().waitFor();
  }));

test("a source is added: wrong fields are named, the connection tried, the plan shown, then applied", { skip: !isMock }, () =>
  on("/sources/new", {}, async (page) => {
    await page.getByRole("button", { name: /PostgreSQL/ }).click();
    await page.getByRole("button", { name: "Review", exact: true }).click();
    await page.getByText("Correct the marked fields first.").waitFor();
    assert.equal(await page.getByText("Fill this in.").count(), 2);
    await page.getByLabel("Name").fill("orders");
    await page.getByLabel("Url").fill("postgres://tarn@db.example:5432/shop");
    await page.getByRole("combobox", { name: "Tables" }).fill("public.orders");
    await page.keyboard.press("Enter");
    await page.getByLabel("Password").selectOption("shop_password");
    await page.getByRole("button", { name: "Test connection" }).click();
    await page.getByText(/3 tables found/).waitFor();
    await page.getByRole("button", { name: "Review", exact: true }).click();
    await page.getByLabel("Changes of orders").getByText("+kind: source").waitFor();
    await page.getByText("password:").first().waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await page.getByRole("button", { name: "Apply", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "orders" }).waitFor();
  }));

test("a paused source can be resumed", { skip: !isMock }, () =>
  on("/sources/nyc", {}, async (page) => {
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused").first().waitFor();
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByText("Streaming").first().waitFor();
  }));

test("what is in memory is committed when asked for; where nothing is, nothing can be", { skip: !isMock }, () =>
  on("/tables/nyc/flights", {}, async (page) => {
    const memory = page.locator("main dl > div", { hasText: "In memory" });
    const sign = memory.getByRole("button", { name: /^Rows that are in no file yet/ });
    await sign.focus();
    await page.getByRole("tooltip", { name: /other engines see them after the next commit/ }).waitFor();
    /** Waits until fewer or more rows than this are in memory. */
    const rows = async (than, fewer) =>
      page.waitForFunction(
        ([element, limit, below]) => {
          const count = Number(element.firstChild.textContent.replaceAll(",", ""));
          return below ? count < limit : count > limit;
        },
        [await memory.getByRole("definition").elementHandle(), than, fewer],
      );
    await rows(5000, false);
    await page.getByRole("button", { name: "Commit now" }).click();
    await page.getByRole("status").getByText("Committed; other engines see everything now").waitFor();
    await rows(5000, true);

    await page.goto(`${browser.url}/tables/nyc/airlines`);
    await page.getByRole("button", { name: "Commit now", disabled: true }).and(page.getByTitle("Everything is committed.")).waitFor();
    assert.equal(await memory.getByRole("definition").innerText(), "0");
  }));

test("a commit that goes on longer than the server waits is not called done", { skip: !isMock }, async () => {
  const stuck = (page) =>
    page.route(/\/flights\/flush$/, async (route) => {
      const detail = await (await route.fetch({ url: route.request().url().replace(/\/flush$/, ""), method: "GET" })).json();
      await route.fulfill({ json: detail });
    });
  const { page, close } = await browser.open("/tables/nyc/flights", {}, stuck);
  try {
    await page.getByRole("button", { name: "Commit now", disabled: false }).click();
    await page.getByRole("status").getByText("Not everything is committed yet").waitFor();
  } finally {
    await close();
  }
});

test("a topic is read from an offset", () =>
  on("/topics/nyc.flights?offset=5", {}, async (page) => {
    await page.getByRole("cell", { name: "5", exact: true }).first().waitFor();
    await page.getByRole("button", { name: "Newest" }).click();
    await page.waitForURL((url) => !url.search.includes("offset"));
  }));

test("a document is changed, planned, applied and rolled back", { skip: !isMock }, () =>
  on("/resources/source/nyc", {}, async (page) => {
    const editor = page.getByRole("textbox", { name: "Document" });
    await editor.click();
    await editor.fill("kind: source\nname: nyc\nspec:\n  type: replay\n  path: data\n  speed: 7200\n");
    await page.getByRole("button", { name: "Show what changes" }).click();
    await page.getByText("+  speed: 7200").waitFor();
    await page.getByLabel("Why").fill("Faster");
    await page.getByRole("button", { name: "Apply", exact: true }).click();
    await page.getByText(/Applied as revision/).waitFor();
    await page.goto(`${browser.url}/resources/revisions/1`);
    await page.getByRole("button", { name: "Go back to this" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Go back to this" }).click();
    await page.getByText(/Back at revision 1/).waitFor();
  }));

test("a document with a mistake says what to do", { skip: !isMock }, () =>
  on("/resources/new", {}, async (page) => {
    const editor = page.getByRole("textbox", { name: "Document" });
    await editor.click();
    await editor.fill("kind: source\nname: x\nspec:\n  type: replya\n");
    await page.getByRole("button", { name: "Show what changes" }).click();
    await page.getByRole("alert").getByText(/unknown source type/).waitFor();
    await page.getByText(/Use one of/).waitFor();
    assert.equal(await page.getByRole("button", { name: "Apply" }).count(), 0);
  }));

test("the menu opens on a phone and leads on", () =>
  on("/", { width: 390, height: 844 }, async (page) => {
    await page.getByRole("button", { name: "Menu" }).click();
    const menu = page.getByRole("dialog", { name: "Menu" });
    await menu.waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await menu.getByRole("link", { name: "Tables" }).click();
    await page.getByRole("heading", { level: 1, name: "Tables" }).waitFor();
    await menu.waitFor({ state: "hidden" });
  }));

// The last, since from here on the server asks who one is.
test("a key is shown once; a first user makes the console ask for a password", { skip: !isMock }, () =>
  on(
    "/access?tab=keys",
    {},
    async (page) => {
      await page.getByRole("button", { name: "Create a key" }).first().click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Name").fill("ci");
      await dialog.getByRole("button", { name: "Create a key" }).click();
      await dialog.getByText(/^tarn_/).waitFor();
      await dialog.getByRole("button", { name: "I have copied it" }).click();
      await page.getByRole("cell", { name: "ci", exact: true }).waitFor();
      assert.equal(await page.getByText(/tarn_[0-9a-f]{40}/).count(), 0);

      await page.getByRole("tab", { name: "Users" }).click();
      await page.getByRole("button", { name: "Add a user" }).first().click();
      const user = page.getByRole("dialog");
      await user.getByLabel("Name").fill("lin");
      await user.getByLabel("Role").selectOption("admin");
      await user.getByRole("textbox", { name: "Password" }).fill("correct horse");
      await user.getByRole("button", { name: "Add a user" }).click();

      await page.goto(browser.url);
      await page.getByRole("textbox", { name: "User" }).fill("lin");
      await page.getByRole("textbox", { name: "Password" }).fill("wrong horse");
      assert.deepEqual(await axeFaults(page), []);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("User or password is wrong.").waitFor();
      await page.getByRole("textbox", { name: "Password" }).fill("correct horse");
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
      await page.getByRole("button", { name: "Account: lin" }).click();
      await page.getByRole("menuitem", { name: "Sign out" }).click();
      await page.getByRole("button", { name: "Sign in" }).waitFor();
    },
    /401/,
  ));
