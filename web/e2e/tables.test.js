// What people do with tables: compare and restore snapshots, name them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { axeFaults, isMock, launch, visit } from "./browser.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());
const on = (path, look, work, expected) => visit(browser, path, look, work, expected);

const snapshots = (page) => page.getByRole("list", { name: "Snapshots" }).getByRole("listitem");

test("two snapshots are compared: sums, changed rows, and the choice is in the address", { skip: !isMock }, () =>
  on("/tables/shop/item?tab=snapshots", {}, async (page) => {
    const boxes = page.getByRole("checkbox", { name: /^Compare snapshot/ });
    await boxes.nth(4).check();
    await page.getByText("Choose a second snapshot below.").waitFor();
    await boxes.nth(1).check();
    await page.waitForURL(/compare=\d+\.\.\d+/);
    const panel = page.locator("section", { has: page.getByRole("heading", { name: "What changed between two snapshots" }) });
    // 1200 + 0 + 97 came, 0 + 0 + 97 went.
    await panel.getByText("+1,297", { exact: true }).waitFor();
    await panel.getByText("−97", { exact: true }).waitFor();
    const grid = panel.getByRole("grid", { name: "Changed rows" });
    await grid.getByRole("gridcell", { name: "update_postimage" }).first().waitFor();
    await panel.getByText(/^Deleted \d+$/).click();
    await page.waitForURL(/change=delete/);
    assert.equal(await grid.getByRole("gridcell", { name: "insert", exact: true }).count(), 0);
    assert.deepEqual(await axeFaults(page), []);
    // A third takes the place of the older choice.
    await boxes.nth(0).check();
    assert.equal(await page.getByRole("checkbox", { checked: true }).count(), 2);
    await page.reload();
    await grid.waitFor();
  }));

test("where the server cannot tell changed rows, both states are compared when asked to", { skip: !isMock }, async () => {
  const without = (page) =>
    page.route(/\/api\/v1\/query$/, (route) =>
      /table_changes/.test(route.request().postData() ?? "")
        ? route.fulfill({ status: 400, json: { error: { kind: "invalid", message: "table function `table_changes` not found" } } })
        : route.continue(),
    );
  const { page, close } = await browser.open("/tables/shop/item?tab=snapshots", {}, without);
  try {
    await page.getByRole("checkbox", { name: /^Compare snapshot/ }).nth(0).check();
    await page.getByRole("checkbox", { name: /^Compare snapshot/ }).nth(2).check();
    const asked = page.waitForRequest((request) => / EXCEPT /.test(request.postData() ?? ""));
    await page.getByRole("button", { name: "Compare all rows" }).click();
    await asked;
    await page.getByRole("grid", { name: "Changed rows" }).waitFor();
  } finally {
    await close();
  }
});

test("a snapshot is named by a tag; a name that is taken is refused where it is entered", { skip: !isMock }, () =>
  on("/tables/shop/item?tab=snapshots", {}, async (page) => {
    const item = snapshots(page).nth(1);
    await item.getByRole("button", { name: /^More on snapshot/ }).click();
    await page.getByRole("menuitem", { name: "Create a tag" }).click();
    const dialog = page.getByRole("dialog", { name: "Create a tag" });
    await dialog.getByRole("button", { name: "Create" }).click();
    await dialog.getByText("Give it a name").waitFor();
    await dialog.getByLabel("Name").fill("before-sale");
    await dialog.getByText("There is a tag or branch of this name already").waitFor();
    await dialog.getByLabel("Name").fill("year's end");
    await dialog.getByText("Use letters, digits").waitFor();
    await dialog.getByLabel("Name").fill("year end");
    await dialog.getByText(/CALL create_tag\('shop\.item', 'year end', \d+\)/).waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await dialog.getByRole("button", { name: "Create" }).click();
    await item.getByRole("link", { name: "year end" }).waitFor();
    await item.getByRole("button", { name: "Delete tag year end" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await item.getByRole("link", { name: "year end" }).waitFor({ state: "hidden" });
  }));

test("a table fed by a topic cannot go back, and says so; its state can be copied", { skip: !isMock }, () =>
  on("/tables/nyc/flights?tab=snapshots", {}, async (page) => {
    await snapshots(page).nth(2).getByRole("button", { name: /^More on snapshot/ }).click();
    const restore = page.getByRole("menuitem", { name: /Go back to this snapshot/ });
    await restore.getByText("A topic feeds this table").waitFor();
    assert.equal(await restore.isDisabled(), true);
    await page.getByRole("menuitem", { name: "Copy this state" }).click();
    await page.waitForURL(/CREATE(\+|%20)TABLE/);
  }));

test("the schema shows what files know of each column, and what each schema changed", () =>
  on(isMock ? "/tables/shop/item?tab=schema" : "/tables/nyc/flights?tab=schema", {}, async (page) => {
    const columns = page.getByRole("table", { name: "Schema" });
    await columns.getByRole("columnheader", { name: "Nulls" }).waitFor();
    await columns.getByRole("button", { name: "Nulls" }).click();
    await page.waitForURL(/sort=-nulls/);
    if (!isMock) return;
    assert.match(await columns.getByRole("row").nth(1).innerText(), /memo/);
    const history = page.getByRole("list", { name: "History" });
    const newest = history.locator("> li").first();
    assert.match((await newest.innerText()).replaceAll("\n", " "), /memo added: string behind title .* stock widened: int → long/);
    await history.getByRole("button", { name: "Schema 0" }).click();
    await history.getByText("name string NOT NULL").waitFor();
    await page.waitForURL(/open=0/);
  }));

test("rows are live: they change by themselves, say how fast, and stand still when paused", () =>
  on("/tables/nyc/flights", {}, async (page) => {
    const grid = page.getByRole("grid", { name: "Preview" });
    await grid.locator("[data-tone=plus]").first().waitFor();
    await page.getByRole("status").getByText(/^Live · [\d,]+ changes\/s · /).waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.waitForURL(/live=0/);
    const before = await grid.innerText();
    await page.getByRole("status").getByText(/^Paused; there is something newer/).waitFor();
    assert.equal(await grid.innerText(), before);
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.waitForFunction((text) => document.querySelector('[role=grid]').innerText !== text, before);
    await page.getByRole("combobox", { name: "Order" }).selectOption("flight_id");
    await page.waitForURL(/order=flight_id/);
    await page.getByRole("button", { name: "Live" }).click();
    await page.getByRole("status").getByText(/^Live ·/).waitFor();
  }));

test("files are seen as a map and as a list, which a partition narrows; the address says so", { skip: !isMock }, () =>
  on("/tables/shop/item?tab=files", {}, async (page) => {
    await page.getByRole("img", { name: /^Map of 40 files in 12 partitions/ }).locator("canvas").waitFor();
    await page.getByText("25 of 46 shown").waitFor();
    await page.getByRole("button", { name: "Show more" }).click();
    const rows = page.getByRole("table", { name: "Files" }).getByRole("row");
    assert.equal(await rows.count(), 47);
    await page.getByText("Small files").click();
    await page.waitForURL(/colour=small/);
    await page.getByRole("button", { name: "region=eu/at_month=2026-02" }).click();
    await page.waitForURL(/partition=region/);
    assert.ok((await rows.count()) < 8);
    assert.deepEqual(await axeFaults(page), []);
    await page.getByRole("button", { name: "All partitions" }).click();
    await rows.nth(20).waitFor();
    // A place on the map chooses its partition.
    await page.locator("main canvas").click({ position: { x: 40, y: 60 } });
    await page.waitForURL(/partition=region/);
  }));

test("a table of thousands of files answers at once", { skip: !isMock }, async () => {
  const many = (page) =>
    page.route(/\/files\?/, (route) =>
      route.fulfill({ json: { items: Array.from({ length: 10_000 }, (_, index) => ({ path: `data/p=${index % 40}/${index}.parquet`, content: "data", rows: 1000, bytes: 1_000_000 + ((index * 7919) % 40_000_000), partition: `p=${index % 40}`, deleted_rows: index % 300 })) } }),
    );
  const { page, errors, close } = await browser.open("/tables/shop/item?tab=files", {}, many);
  try {
    await page.getByRole("img", { name: /^Map of 10,000 files in 40 partitions/ }).locator("canvas").waitFor();
    await page.getByText("25 of 10,000 shown").waitFor();
    await page.getByRole("searchbox", { name: "Search files" }).fill("p=7/");
    await page.getByText("25 of 250 shown").waitFor();
    assert.deepEqual(errors, []);
  } finally {
    await close();
  }
});

test("services say what they cost and saved, are switched off for a table, and are started now", { skip: !isMock }, () =>
  on("/tables/shop/item?tab=services", {}, async (page) => {
    await page.getByRole("status").getByText("107 old snapshots").waitFor();
    const runs = page.getByRole("table", { name: "Runs" });
    await runs.getByText("35 files to 15").waitFor();
    await runs.getByText("no space left on device").waitFor();
    await page.getByRole("switch", { name: "Expire snapshots" }).click({ force: true });
    await page.getByRole("switch", { name: "Expire snapshots", checked: false, disabled: false }).waitFor();
    await page.reload();
    await page.getByRole("switch", { name: "Expire snapshots", checked: false }).waitFor();
    const rows = await runs.getByRole("row").count();
    await page.getByRole("button", { name: "Make statistics" }).click();
    await runs.getByRole("row").nth(rows).waitFor();
    await page.getByRole("button", { name: "Pause for all tables" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Pause", exact: true }).click();
    await page.getByRole("alert").getByRole("button", { name: "Go on" }).click();
    await page.getByRole("alert").waitFor({ state: "hidden" });
  }));

test("a table is made by a form that marks what is wrong and shows its statement", { skip: !isMock }, () =>
  on("/tables/new", {}, async (page) => {
    const create = page.getByRole("button", { name: "Create a table" });
    await create.click();
    await page.getByText("Name the namespace").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("placeholder")), "shop");
    await page.getByRole("textbox", { name: "Namespace" }).or(page.getByRole("combobox", { name: "Namespace" })).fill("crm");
    await page.getByRole("textbox", { name: "Table" }).fill("customer");
    await page.getByRole("button", { name: "Add a column" }).click();
    await page.getByLabel("Name of column 2").fill("Name");
    await page.getByLabel("Type of column 2").fill("BLURB");
    await page.getByRole("button", { name: "Add a column" }).click();
    await page.getByLabel("Name of column 3").fill("since");
    await page.getByLabel("Type of column 3").fill("TIMESTAMPTZ");
    await page.getByRole("button", { name: "Add a partition field" }).click();
    await page.getByText("2026-01-31 12:34:56").waitFor();
    await page.getByLabel("Transform of partition field 1").selectOption("day");
    await page.getByText("PARTITIONED BY (day(since))").waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await create.click();
    await page.getByRole("alert").getByText("BLURB").waitFor();
    await page.getByLabel("Type of column 2").fill("TEXT");
    await page.getByText('"Name" TEXT').waitFor();
    await create.click();
    await page.getByRole("heading", { level: 1, name: "crm.customer" }).waitFor();
  }, /status of 400/));

test("columns are added, renamed, widened and dropped by forms; a refusal is said in the form", { skip: !isMock }, () =>
  on("/tables/shop/item?tab=schema", {}, async (page) => {
    const columns = page.getByRole("table", { name: "Schema" });
    await page.getByRole("button", { name: "Add a column" }).click();
    let dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Run" }).click();
    await dialog.getByText("Fill this in.").waitFor();
    await dialog.getByLabel("Name").fill("colour");
    await dialog.getByLabel("Type").fill("TEXT");
    await dialog.getByLabel("Place").selectOption("title");
    await dialog.getByText("ADD COLUMN colour TEXT AFTER title").waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await dialog.getByRole("button", { name: "Run" }).click();
    await columns.getByText("colour", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Change column colour" }).click();
    await page.getByRole("menuitem", { name: "Rename" }).click();
    dialog = page.getByRole("dialog", { name: "Rename column colour" });
    await dialog.getByLabel("Name").fill("id");
    await dialog.getByRole("button", { name: "Run" }).click();
    await dialog.getByText("There is one of this name already.").waitFor();
    await dialog.getByLabel("Name").fill("shade");
    await dialog.getByRole("button", { name: "Run" }).click();
    await columns.getByText("shade", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Change column price" }).click();
    await page.getByRole("menuitem", { name: "Widen the type" }).click();
    await page.getByRole("dialog").getByLabel("New type").selectOption("DECIMAL(28, 2)");
    await page.getByRole("dialog").getByRole("button", { name: "Run" }).click();
    await columns.getByText("decimal(28, 2)").waitFor();
    await page.getByRole("button", { name: "Change column region" }).click();
    await page.getByRole("menuitem", { name: "Drop" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Run" }).click();
    await page.getByRole("dialog").getByRole("alert").getByText("decides the partition").waitFor();
  }, /status of 400/));

test("a table is dropped once its name was typed; one that a topic feeds is not", { skip: !isMock }, () =>
  on("/tables/nyc/flights?tab=properties", {}, async (page) => {
    await page.getByText("A topic feeds this table, so it cannot be dropped").waitFor();
    await page.getByRole("button", { name: "Drop the table", disabled: true }).waitFor();
    await page.goto(`${browser.url}/tables/new`);
    await page.getByLabel("Namespace").fill("shop");
    await page.getByRole("textbox", { name: "Table" }).fill("gone");
    await page.getByRole("button", { name: "Create a table" }).click();
    await page.getByRole("heading", { level: 1, name: "shop.gone" }).waitFor();
    await page.getByRole("tab", { name: "Properties" }).click();
    await page.getByRole("button", { name: "Drop the table" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Drop the table", disabled: true }).waitFor();
    await dialog.getByRole("checkbox", { name: "Delete the files, too" }).check();
    await dialog.getByText("DROP TABLE shop.gone PURGE").waitFor();
    await dialog.getByLabel("Type shop.gone to confirm").fill("shop.gone");
    await dialog.getByRole("button", { name: "Drop the table" }).click();
    await page.getByRole("heading", { level: 1, name: "Tables" }).waitFor();
    assert.equal(await page.getByRole("link", { name: "shop.gone" }).count(), 0);
  }, /404/));

test("files are imported: what is missing is marked, types are changed, the run is followed and verified", { skip: !isMock }, () =>
  on("/tables/import", {}, async (page) => {
    const look = page.getByRole("button", { name: "Look at the files" });
    await look.click();
    await page.getByText("Choose a file.").waitFor();
    await page.locator("input[type=file]").setInputFiles({ name: "Sales 2026.csv", mimeType: "text/csv", buffer: Buffer.from("id,zip\n1,04109\n") });
    await page.getByText("Sales 2026.csv").waitFor();
    assert.equal(await page.getByRole("textbox", { name: "Table" }).inputValue(), "sales_2026");
    await page.getByLabel("Namespace").fill("shop");
    await look.click();
    const columns = page.getByRole("table", { name: "Columns" });
    await columns.getByText("starts with 0").waitFor();
    await columns.getByLabel("Type of zip").selectOption("int32");
    await columns.getByText("chosen; found was string").waitFor();
    await columns.getByLabel("id is in the key").check();
    await page.getByLabel("Rows that cannot be read").selectOption("quarantine");
    assert.deepEqual(await axeFaults(page), []);
    const sent = page.waitForRequest((request) => request.method() === "POST" && /\/imports$/.test(request.url()));
    await page.getByRole("button", { name: "Import", exact: true }).click();
    assert.deepEqual((await sent).postDataJSON(), { path: "upload://0f3a/Sales 2026.csv", into: "shop.sales_2026", mode: "create", columns: [{ name: "zip", type: "int32" }], key: ["id"], on_error: "quarantine" });
    await page.waitForURL(/id=imp-/);
    await page.getByText("The table holds what the files hold").waitFor();
    await page.getByRole("table", { name: "Problems" }).getByText("b.csv:17").waitFor();
    await page.reload();
    await page.getByText("The table holds what the files hold").waitFor();
  }));

test("an import that fails says why and goes on when told to; wrong paths are said where they are entered", { skip: !isMock }, () =>
  on("/tables/import?into=shop.item", {}, async (page) => {
    assert.equal(await page.getByLabel("How", { exact: true }).inputValue(), "append");
    await page.getByText("S3", { exact: true }).click();
    await page.getByLabel("Address").fill("bucket/x");
    await page.getByRole("button", { name: "Look at the files" }).click();
    await page.getByText("Write it as").waitFor();
    await page.getByLabel("Address").fill("s3://nowhere/");
    await page.getByRole("button", { name: "Look at the files" }).click();
    await page.getByRole("alert").getByText("no file at").waitFor();
    await page.getByLabel("Address").fill("s3://broken/");
    await page.getByRole("button", { name: "Look at the files" }).click();
    await page.getByRole("button", { name: "Import", exact: true }).click();
    await page.getByRole("alert").getByText("is not of type int64").waitFor();
    await page.getByRole("button", { name: "Go on" }).click();
    await page.getByText("The table holds what the files hold").waitFor();
  }, /404/));

// The last about snapshots, since the table is another one afterwards.
test("going back says what will be lost, and marks what was left behind", { skip: !isMock }, () =>
  on("/tables/shop/item?tab=snapshots", {}, async (page) => {
    const target = snapshots(page).nth(3);
    await target.getByRole("button", { name: /^More on snapshot/ }).click();
    await page.getByRole("menuitem", { name: "Go back to this snapshot" }).click();
    const dialog = page.getByRole("dialog");
    for (const line of ["3 commits are undone", "337 rows added since will be gone", "277 rows deleted since will be back"]) await dialog.getByText(line).waitFor();
    // The menu fades away behind the dialog.
    await page.getByRole("menu").waitFor({ state: "detached" });
    assert.deepEqual(await axeFaults(page), []);
    await dialog.getByRole("button", { name: "Undo 3 commits" }).click();
    await target.getByText("current").waitFor();
    // The third is what the branch names.
    assert.equal(await page.getByText("left behind").count(), 2);
    await snapshots(page).nth(0).getByRole("button", { name: /^More on snapshot/ }).click();
    assert.equal(await page.getByRole("menuitem", { name: /Go back to this snapshot/ }).isDisabled(), true);
  }));
