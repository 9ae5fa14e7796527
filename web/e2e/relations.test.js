// Views, branches, and a table that waits for a decision.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { axeFaults, isMock, launch, visit } from "./browser.js";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());
const on = (path, look, work, expected) => visit(browser, path, look, work, expected);

test("views are listed among tables, show their query and columns, and are opened in SQL", { skip: !isMock }, () =>
  on("/tables", {}, async (page) => {
    await page.getByRole("heading", { name: /tables, 2 views$/ }).waitFor();
    await page.getByRole("combobox", { name: "State" }).selectOption("view");
    await page.getByRole("heading", { name: "2 views" }).waitFor();
    await page.getByRole("link", { name: "shop.per_region" }).click();
    await page.getByRole("heading", { level: 1, name: "shop.per_region" }).waitFor();
    await page.getByText("names without a namespace mean shop").waitFor();
    await page.getByRole("grid", { name: "Preview" }).getByRole("gridcell", { name: "eu" }).waitFor();
    await page.getByRole("table", { name: "Columns" }).getByText("items").waitFor();
    const versions = page.getByRole("table", { name: "Versions" });
    assert.equal(await versions.getByRole("row").count(), 3);
    assert.deepEqual(await axeFaults(page), []);
    await page.getByRole("link", { name: "Open in SQL" }).first().click();
    await page.getByRole("textbox", { name: "SQL text" }).getByText("CREATE OR REPLACE VIEW shop.per_region (region, items) AS").waitFor();
  }));

test("the address of a table leads to the view of that name", { skip: !isMock }, () =>
  on("/tables/shop/cheap", {}, async (page) => {
    await page.waitForURL(/\/views\/shop\/cheap$/);
    await page.getByText("What costs less than ten").waitFor();
  }, /404/));

test("a table that stands still says why and how many rows wait, and follows the change when told to", { skip: !isMock }, () =>
  on("/tables/shop/invoice", {}, async (page) => {
    const panel = page.locator("section", { has: page.getByRole("heading", { name: "Stands still before a change at its source" }) });
    await panel.getByRole("alert").getByText("column memo was added").waitFor();
    await panel.getByRole("link", { name: "17 rows wait in the topic" }).waitFor();
    await panel.getByText("public.invoice: evolve").waitFor();
    await panel.getByRole("link", { name: "Open the source's document" }).waitFor();
    assert.deepEqual(await axeFaults(page), []);
    await panel.getByRole("button", { name: "Follow this change" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("CALL accept_schema_change('shop.invoice')").waitFor();
    await dialog.getByRole("button", { name: "Follow this change" }).click();
    await panel.waitFor({ state: "hidden" });
    await page.getByRole("grid", { name: "Preview" }).getByText("memo").waitFor();
  }));

test("branches say how they stand to the table, and are compared, written to and deleted from their list", { skip: !isMock }, () =>
  on("/tables/shop/item?tab=snapshots", {}, async (page) => {
    const names = page.getByRole("table", { name: "Branches and tags" });
    await names.getByRole("row", { name: /audit .* 2 commits before the table/ }).waitFor();
    await names.getByRole("button", { name: "More on audit" }).click();
    assert.equal(await page.getByRole("menuitem", { name: /^Publish/ }).isDisabled(), true);
    await page.getByRole("menuitem", { name: "Compare with the table" }).click();
    await page.waitForURL(/compare=\d+\.\.\d+/);
    await page.getByRole("heading", { name: "What changed between two snapshots" }).waitFor();
    await page.getByRole("button", { name: "Create a branch" }).click();
    await page.getByRole("dialog").getByLabel("Name").fill("next");
    await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
    await names.getByRole("row", { name: /next .* as the table is now/ }).waitFor();
    await names.getByRole("button", { name: "More on next" }).click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await page.getByRole("dialog").getByText("CALL drop_branch('shop.item', 'next')").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await names.getByRole("link", { name: "next" }).waitFor({ state: "hidden" });
    await names.getByRole("button", { name: "More on audit" }).click();
    await page.getByRole("menuitem", { name: "Write to it by SQL" }).click();
    await page.getByRole("textbox", { name: "SQL text" }).getByText("INSERT INTO shop.item.branch_audit").waitFor();
  }));

test("files may stay where they are, and are cut over later; a sheet of a workbook is chosen", { skip: !isMock }, () =>
  on("/tables/import", {}, async (page) => {
    await page.getByRole("radiogroup").getByText("Path", { exact: true }).click();
    await page.getByLabel("Path of the files").fill("data/events.parquet");
    await page.getByLabel("Namespace").fill("shop");
    await page.getByRole("button", { name: "Look at the files" }).click();
    const register = page.getByRole("checkbox", { name: /^Leave the files where they are/ });
    await register.waitFor();
    await page.getByRole("table", { name: "Columns" }).getByText("as the files say").first().waitFor();
    const checked = page.waitForRequest((request) => request.method() === "POST" && /"mode":"register"/.test(request.postData() ?? ""));
    await register.check();
    assert.equal((await checked).postDataJSON().dry_run, true);
    await page.getByRole("button", { name: "Register", exact: true }).click();
    await page.getByText("The table holds what the files hold").waitFor();
    await page.getByRole("button", { name: "Cut over" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cut over" }).click();
    await page.getByText("Cut-over ·").waitFor();
    await page.goto(`${browser.url}/tables/import`);
    await page.getByRole("radiogroup").getByText("Path", { exact: true }).click();
    await page.getByLabel("Path of the files").fill("data/stock.xlsx");
    await page.getByLabel("Namespace").fill("shop");
    await page.getByRole("button", { name: "Look at the files" }).click();
    await page.getByLabel("Sheet").selectOption("2025");
    await page.getByLabel("Range").fill("A3:C90");
    assert.equal(await register.count(), 0);
    const sent = page.waitForRequest((request) => request.method() === "POST" && /\/imports$/.test(request.url()));
    await page.getByRole("button", { name: "Import", exact: true }).click();
    assert.deepEqual((await sent).postDataJSON(), { path: "data/stock.xlsx", into: "shop.stock", mode: "create", excel: { sheet: "2025", range: "A3:C90" } });
  }));
