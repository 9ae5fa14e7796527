// The life of a table on a real server: made by a form, filled by an import, changed by SQL, compared, taken back, branched, looked
// after, and dropped. Each step goes on where the one before it stopped. Only before `TARN_URL`, since it is the server that is tried.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { axeFaults, isMock, launch } from "./browser.js";

// A name of its own, so that the same server can be tried again.
const NAMESPACE = `life_${randomBytes(3).toString("hex")}`;
const NAME = `${NAMESPACE}.customer`;
const CITIES = ["Berlin", "上海", "São Paulo"];
const ROWS = 90;

let browser;
let context;
before(async () => {
  if (isMock) return;
  browser = await launch();
  // One profile for all steps, so that files are loaded and compiled once.
  context = await browser.context({});
});
after(() => browser?.close());
/** One step in a page of its own; its console may say what is `expected`. */
const step = (name, path, work, expected = /^$/) =>
  test(name, { skip: isMock }, async () => {
    const { page, errors, close } = await browser.openIn(context, path());
    try {
      await work(page);
      assert.deepEqual(errors.filter((error) => !expected.test(error)), []);
    } finally {
      await close();
    }
  });
const table = (tab) => () => `/tables/${NAMESPACE}/customer?tab=${tab}`;
const sqlPage = (text) => () => `/sql?q=${encodeURIComponent(text)}`;

/** Runs the text of the SQL page and waits for what the server says of it. */
async function run(page, said) {
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByRole("status").getByText(said).waitFor();
}
const snapshots = (page) => page.getByRole("list", { name: "Snapshots" }).getByRole("listitem");
/** A figure below the title. */
const figure = (page, name, value) => page.locator("main dl > div", { hasText: name }).first().getByText(value, { exact: true }).waitFor();

step("a table is made by the form; what the server refuses is said beside the statement", () => "/tables/new", async (page) => {
  await page.getByLabel("Namespace").fill(NAMESPACE);
  await page.getByRole("textbox", { name: "Table" }).fill("customer");
  const columns = [["name", "BLURB"], ["city", "TEXT"], ["since", "DATE"], ["balance", "DECIMAL(12, 2)"], ["tags", "TEXT[]"]];
  for (const [index, [name, type]] of columns.entries()) {
    await page.getByRole("button", { name: "Add a column" }).click();
    await page.getByLabel(`Name of column ${index + 2}`).fill(name);
    await page.getByLabel(`Type of column ${index + 2}`).fill(type);
  }
  await page.getByRole("button", { name: "Add a partition field" }).click();
  await page.getByLabel("Column of partition field 1").selectOption({ label: "city" });
  await page.getByLabel("Transform of partition field 1").selectOption("identity");
  await page.getByRole("button", { name: "Create a table" }).click();
  await page.getByRole("alert").getByText(/BLURB/i).waitFor();
  await page.getByLabel("Type of column 2").fill("TEXT");
  await page.getByRole("button", { name: "Create a table" }).click();
  await page.getByRole("heading", { level: 1, name: NAME }).waitFor();
  await page.getByText("The table exists, but no row is in it.").waitFor();
}, /status of 400/);

step("a file is imported by the wizard, and compared with the table", () => `/tables/import?into=${NAME}`, async (page) => {
  const line = (n) => `${n},Customer ${n},${CITIES[n % 3]},2026-01-${String((n % 28) + 1).padStart(2, "0")},${(n * 1.25).toFixed(2)}`;
  const text = ["id,name,city,since,balance", ...Array.from({ length: ROWS }, (_, index) => line(index + 1)), "x,broken,,,"].join("\n");
  await page.locator("input[type=file]").setInputFiles({ name: "customers.csv", mimeType: "text/csv", buffer: Buffer.from(`${text}\n`) });
  await page.getByRole("status").getByText("customers.csv").waitFor();
  assert.equal(await page.getByLabel("How", { exact: true }).inputValue(), "append");
  await page.getByRole("button", { name: "Look at the files" }).click();
  const start = page.getByRole("button", { name: "Import", exact: true });
  await start.waitFor();
  await page.getByRole("grid", { name: "First rows" }).getByRole("gridcell", { name: "Customer 1", exact: true }).waitFor();
  await page.getByLabel("Rows that cannot be read").selectOption("quarantine");
  await start.click();
  await page.getByText("The table holds what the files hold").waitFor();
  await page.getByText(`${ROWS} rows read, ${ROWS} rows in the table, hashes equal`).waitFor();
  await page.getByRole("table", { name: "Problems" }).getByText(`customers.csv:${ROWS + 2}`).waitFor();
  await page.getByRole("link", { name: "Open the table" }).click();
  await page.getByRole("heading", { level: 1, name: NAME }).waitFor();
  await figure(page, "Rows", String(ROWS));
});

step("rows are changed by SQL", sqlPage(`UPDATE ${NAME} SET balance = balance + 100 WHERE id <= 6`), async (page) => {
  await run(page, "UPDATE done: 6 rows");
  await page.goto(`${browser.url}${sqlPage(`DELETE FROM ${NAME} WHERE id > 80`)()}`);
  await run(page, "DELETE done: 10 rows");
});

step("its snapshots are compared: sums and the changed rows themselves", table("snapshots"), async (page) => {
  await snapshots(page).nth(2).waitFor();
  assert.equal(await snapshots(page).count(), 3);
  await snapshots(page).nth(0).getByText("Delete", { exact: true }).waitFor();
  await snapshots(page).nth(1).getByText("Upsert", { exact: true }).waitFor();
  const boxes = page.getByRole("checkbox", { name: /^Compare snapshot/ });
  await boxes.nth(2).check();
  await boxes.nth(0).check();
  const panel = page.locator("section", { has: page.getByRole("heading", { name: "What changed between two snapshots" }) });
  await panel.getByText("90 → 80", { exact: true }).waitFor();
  await panel.getByText("+6", { exact: true }).waitFor();
  await panel.getByText("−16", { exact: true }).waitFor();
  const grid = panel.getByRole("grid", { name: "Changed rows" });
  await panel.getByText("Deleted 10", { exact: true }).click();
  await grid.getByRole("gridcell", { name: "Customer 81", exact: true }).waitFor();
  await panel.getByText("After an update 6", { exact: true }).click();
  await grid.getByRole("gridcell", { name: "101.25", exact: true }).waitFor();
  assert.deepEqual(await axeFaults(page), []);
});

step("the table goes back, and what was undone is still there to be read", table("snapshots"), async (page) => {
  const first = snapshots(page).nth(2);
  await first.getByRole("button", { name: /^More on snapshot/ }).click();
  await page.getByRole("menuitem", { name: "Go back to this snapshot" }).click();
  await page.getByRole("dialog").getByText("2 commits are undone").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Undo 2 commits" }).click();
  await first.getByText("current", { exact: true }).waitFor();
  assert.equal(await page.getByText("left behind").count(), 2);
  await figure(page, "Rows", String(ROWS));
  await snapshots(page).nth(0).getByRole("link", { name: "Query" }).click();
  await page.getByText(/^80 rows/).waitFor();
});

step("a branch is made, written to by SQL, and published", table("snapshots"), async (page) => {
  await page.getByRole("button", { name: "Create a branch" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("audit");
  await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  const names = page.getByRole("table", { name: "Branches and tags" });
  await names.getByRole("row", { name: /audit .* as the table is now/ }).waitFor();
  await page.goto(`${browser.url}${sqlPage(`INSERT INTO ${NAME}.branch_audit (id, name, city) VALUES (1001, 'Only here', 'Berlin')`)()}`);
  await run(page, "INSERT done: 1 row");
  await page.goto(`${browser.url}${table("snapshots")()}`);
  await names.getByRole("row", { name: /audit .* 1 commit ahead \+1 −0/ }).waitFor();
  await figure(page, "Rows", String(ROWS));
  await names.getByRole("button", { name: "More on audit" }).click();
  await page.getByRole("menuitem", { name: "Publish" }).click();
  await page.getByRole("dialog").getByText(`CALL fast_forward('${NAME}', 'main', 'audit')`).waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Publish" }).click();
  await names.getByRole("row", { name: /audit .* as the table is now/ }).waitFor();
  await figure(page, "Rows", String(ROWS + 1));
  await names.getByRole("button", { name: "More on audit" }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await names.waitFor({ state: "hidden" });
});

step("OPTIMIZE merges its files, and the run is listed with what it saved", table("services"), async (page) => {
  const runs = page.getByRole("table", { name: "Runs" });
  await page.getByRole("button", { name: "Optimize" }).click();
  const merged = runs.getByRole("row").filter({ hasText: "Merge files" }).filter({ hasText: "by SQL" });
  await merged.getByText("4 files to 3").waitFor();
  await merged.getByText("Done", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Make statistics" }).click();
  await runs.getByRole("row").filter({ hasText: "Statistics" }).getByText("Done", { exact: true }).first().waitFor();
  await page.getByRole("switch", { name: "Statistics" }).click({ force: true });
  await page.getByRole("switch", { name: "Statistics", checked: false, disabled: false }).waitFor();
  await page.getByRole("button", { name: "Pause for all tables" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Pause", exact: true }).click();
  await page.getByRole("alert").getByRole("button", { name: "Go on" }).click();
  await page.getByRole("button", { name: "Pause for all tables" }).waitFor();
  await page.getByRole("tab", { name: /^Files/ }).click();
  await page.getByRole("img", { name: "Map of 3 files in 3 partitions" }).waitFor();
  await page.getByRole("tab", { name: "Properties" }).click();
  await page.getByText("tarn.services.statistics.enabled").waitFor();
});

step("columns are added and renamed by forms, and the history says so", table("schema"), async (page) => {
  const columns = page.getByRole("table", { name: "Schema" });
  await page.getByRole("button", { name: "Add a column" }).click();
  let dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("note");
  await dialog.getByLabel("Type").fill("TEXT");
  await dialog.getByRole("button", { name: "Run" }).click();
  await columns.getByText("note", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Change column since" }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  dialog = page.getByRole("dialog", { name: "Rename column since" });
  await dialog.getByLabel("Name").fill("customer_since");
  await dialog.getByRole("button", { name: "Run" }).click();
  await columns.getByText("customer_since", { exact: true }).waitFor();
  await page.getByRole("list", { name: "History" }).getByText("renamed:").waitFor();
  await page.getByRole("button", { name: "Change column city" }).click();
  await page.getByRole("menuitem", { name: "Drop" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Run" }).click();
  await page.getByRole("dialog").getByRole("alert").getByText("city").first().waitFor();
}, /status of 40\d/);

step("a view is made by SQL, shown with its query, and dropped", sqlPage(`CREATE VIEW ${NAMESPACE}.per_city (city, customers) AS SELECT city, count(*) FROM ${NAME} GROUP BY city`), async (page) => {
  await run(page, "CREATE VIEW done");
  await page.goto(`${browser.url}/tables?namespace=${NAMESPACE}`);
  await page.getByRole("heading", { name: "1 table, 1 view" }).waitFor();
  await page.getByRole("link", { name: `${NAMESPACE}.per_city` }).click();
  await page.getByText(`SELECT city, count(*) FROM ${NAME} GROUP BY city`).waitFor();
  await page.getByRole("grid", { name: "Preview" }).getByRole("gridcell", { name: "上海" }).waitFor();
  await page.getByRole("button", { name: "Drop the view" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Drop the view" }).click();
  await page.getByRole("link", { name: NAME, exact: true }).waitFor();
  await page.getByRole("link", { name: `${NAMESPACE}.per_city` }).waitFor({ state: "hidden" });
}, /status of 404/);

step("the table is dropped once its name was typed", table("properties"), async (page) => {
  await page.getByRole("button", { name: "Drop the table" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("checkbox", { name: "Delete the files, too" }).check();
  await dialog.getByLabel(`Type ${NAME} to confirm`).fill(NAME);
  await dialog.getByRole("button", { name: "Drop the table" }).click();
  await page.getByRole("heading", { level: 1, name: "Tables" }).waitFor();
  await page.getByRole("link", { name: NAME }).waitFor({ state: "hidden" });
}, /status of 404/);
