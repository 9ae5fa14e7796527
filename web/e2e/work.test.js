// What makes work quick: keys, wide results, links, and the small things that a phone needs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { axeFaults, isMock, launch, visit } from "./browser.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());
const on = (path, look, work, expected) => visit(browser, path, look, work, expected);

const PHONE = { width: 390, height: 844 };
const sql = (text) => `/sql?run=1&q=${encodeURIComponent(text)}`;

test("keys go to pages, to the search and to their own list, but not from a text", () =>
  on("/", {}, async (page) => {
    await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("s");
    await page.getByRole("heading", { level: 1, name: "Sources" }).waitFor();
    // Until the list is there, `/` opens the search of everything.
    const search = page.getByRole("searchbox", { name: "Search sources" });
    await search.waitFor();
    await page.keyboard.press("/");
    await page.waitForFunction(() => document.activeElement?.getAttribute("type") === "search");
    await page.keyboard.type("gt?");
    assert.equal(await search.inputValue(), "gt?");
    assert.equal(new URL(page.url()).pathname, "/sources");
    await search.blur();
    await page.keyboard.press("?");
    const dialog = page.getByRole("dialog", { name: "Keyboard shortcuts" });
    await dialog.getByText("Go to Tables").waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    // A page without a search of its own opens the one of everything.
    await page.goto(`${browser.url}/access`);
    await page.getByRole("heading", { level: 1, name: "Access" }).waitFor();
    await page.keyboard.press("/");
    await page.getByRole("combobox", { name: "Go to" }).waitFor();
  }));

test("a column takes another width by keys and by dragging, and its own by a double click; what is cut off is shown whole", () =>
  on(sql("SELECT * FROM nyc.flights LIMIT 20"), {}, async (page) => {
    const grid = page.getByRole("grid", { name: "Result" });
    const cell = grid.getByRole("gridcell", { name: /^2013-/ }).first();
    await cell.waitFor();
    const handle = grid.getByRole("separator", { name: "Width of column scheduled_departure" });
    const width = async () => Number(await handle.getAttribute("aria-valuenow"));
    const own = await width();
    await cell.click();
    assert.equal(await page.getByRole("button", { name: "Copy", exact: true }).count(), 0);
    await handle.focus();
    for (let step = 0; step < 30; step += 1) await page.keyboard.press("ArrowLeft");
    assert.equal(await width(), 48);
    assert.ok((await cell.boundingBox()).width <= 48);
    const whole = await cell.getAttribute("title");
    await page.getByRole("status").getByText(whole).waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await handle.dblclick();
    assert.equal(await width(), own);
    const { x, y, height } = await handle.boundingBox();
    await page.mouse.move(x + 3, y + height / 2);
    await page.mouse.down();
    await page.mouse.move(x + 103, y + height / 2, { steps: 4 });
    await page.mouse.up();
    await grid.locator(`[role=separator][aria-valuenow="${own + 100}"]`).waitFor();
  }));

test("what changes something runs by hand only, and says what it did", () =>
  on(`/sql?run=1&q=${encodeURIComponent("DELETE FROM nyc.flights")}`, {}, async (page) => {
    await page.getByText("cannot run in a read-only session").waitFor();
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.getByRole("status").getByText("DELETE done: 3 rows").waitFor();
    assert.deepEqual(await axeFaults(page), []);
    // Out of the history it goes back to the editor, and not to the server.
    await page.getByText("History", { exact: true }).click();
    let asked = 0;
    await page.route("**/api/v1/query", (route) => {
      asked += 1;
      return route.continue();
    });
    await page.getByRole("button", { name: /DELETE FROM nyc\.flights/ }).first().click();
    await page.waitForTimeout(300);
    assert.equal(asked, 0);
  }, /status of 400/));

test("a link to a query holds its text as it stands, and does not run by itself", () =>
  on("/sql?side=examples", {}, async (page) => {
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    const editor = page.getByRole("textbox", { name: "SQL text" });
    await editor.click();
    await editor.fill("SELECT 1 + 1 AS two");
    await page.getByRole("button", { name: "Copy link" }).click();
    await page.getByText("Link to this query copied").waitFor();
    const link = new URL(await page.evaluate(() => navigator.clipboard.readText()));
    assert.equal(link.searchParams.get("q"), "SELECT 1 + 1 AS two");
    assert.equal(link.searchParams.get("side"), "examples");
    assert.equal(link.searchParams.has("run"), false);
    await page.goto(link.href);
    await page.getByText("No result yet").waitFor();
    assert.match(await page.getByRole("textbox", { name: "SQL text" }).innerText(), /SELECT 1 \+ 1 AS two/);
  }));

test("of a long result more rows are shown when asked for", () =>
  on(sql("SELECT * FROM nyc.flights LIMIT 20000"), {}, async (page) => {
    await page.getByText("only the first 10,000 are shown").waitFor();
    await page.getByRole("button", { name: "Show up to 100,000" }).click();
    await page.getByText(/^20,000 rows/).waitFor();
    assert.equal(await page.getByText("only the first").count(), 0);
    const grid = page.getByRole("grid", { name: "Result" });
    await grid.focus();
    await page.keyboard.press("Control+End");
    const last = grid.getByRole("rowheader", { name: "20000", exact: true });
    await last.waitFor();
    assert.ok(await last.evaluate((element) => element.scrollWidth <= element.clientWidth), "the number of the row is not cut off");
  }));

test("an address that cannot be reached is marked until it is changed", { skip: !isMock }, () =>
  on("/sources/new?type=postgres_cdc", {}, async (page) => {
    await page.getByRole("textbox", { name: "Name" }).fill("orders");
    const url = page.getByLabel("Url");
    await url.fill("postgres://tarn@127.0.0.1:5432/shop");
    await page.getByRole("combobox", { name: "Tables" }).fill("public.orders");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Test connection" }).click();
    const fault = page.getByText("Nothing could be reached at this address; the test says why.");
    await fault.waitFor();
    assert.equal(await url.getAttribute("aria-invalid"), "true");
    await url.fill("postgres://tarn@db.example:5432/shop");
    await fault.waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Test connection" }).click();
    await page.getByText(/3 tables found/).waitFor();
    assert.equal(await fault.count(), 0);
  }));

test("a mistake in a document is marked at its first word", () =>
  on("/resources/new", {}, async (page) => {
    const editor = page.getByRole("textbox", { name: "Document" });
    await editor.click();
    await editor.fill("kind: source\nname: x\nspec:\n  type: replya\n");
    await page.getByRole("button", { name: "Show what changes" }).click();
    await page.getByRole("alert").getByText(/unknown source type/).waitFor();
    assert.match(await page.locator(".cm-lintRange-error, .cm-lintPoint-error").first().innerText(), /^(type|replya)/);
  }));

test("on a phone the chosen tab is in sight, and a card has no empty line", () =>
  on("/tables/nyc/flights?tab=properties", PHONE, async (page) => {
    const tab = page.getByRole("tab", { name: "Properties" });
    await tab.waitFor();
    const { x, width } = await tab.boundingBox();
    assert.ok(x >= 0 && x + width <= PHONE.width, `the tab is at ${x} to ${x + width}`);
    await page.getByRole("tab", { name: /Schema/ }).click();
    await page.getByRole("cell", { name: "carrier", exact: true }).waitFor();
    const empty = await page.getByRole("cell").evaluateAll((cells) => cells.filter((cell) => cell.checkVisibility() && cell.textContent === "" && !cell.querySelector("button")).length);
    assert.equal(empty, 0);
  }));

test("a short Chinese word in a table stands in one line", () =>
  on("/tables/nyc/flights?tab=files", { language: "zh-CN" }, async (page) => {
    await page.getByRole("cell", { name: "数据", exact: true }).first().waitFor();
    const lines = await page.getByRole("cell", { name: /^(数据|删除标记)$/ }).evaluateAll((cells) =>
      cells.map((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
      }),
    );
    assert.deepEqual([...new Set(lines)], [1]);
  }));

test("before the first query there is no query time", { skip: !isMock }, () =>
  on("/", { world: "empty" }, async (page) => {
    const figure = page.getByRole("navigation", { name: "Figures" }).getByRole("link", { name: /Query time/ });
    await figure.waitFor();
    assert.match(await figure.innerText(), /–\s+no query yet/);
  }));
