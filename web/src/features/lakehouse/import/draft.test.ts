import { expect, it } from "vitest";
import { draftOf, EMPTY, faultsOf, mayRegister, requestOf, splitFields, tableNameOf } from "./draft";

const DRAFT = { ...EMPTY, place: "path" as const, path: " data/sales.csv ", namespace: "shop", table: "sale" };

it("leaves out what is to be found out", () => {
  expect(requestOf(DRAFT)).toEqual({ path: "data/sales.csv", into: "shop.sale", mode: "create" });
});

it("says what was chosen", () => {
  expect(
    requestOf({ ...DRAFT, format: "csv", delimiter: ";", header: "no", nulls: ", NA", infer_all: true, types: { zip: "string" }, key: ["id"], partition_by: "year, bucket(16, id)", on_error: "quarantine" }),
  ).toEqual({
    path: "data/sales.csv", into: "shop.sale", mode: "create", format: "csv", csv: { delimiter: ";", header: false, null: ["", "NA"] }, infer_rows: 0,
    columns: [{ name: "zip", type: "string" }], key: ["id"], partition_by: ["year", "bucket(16, id)"], on_error: "quarantine",
  });
  expect(requestOf({ ...DRAFT, mode: "append", only_new: true })).toMatchObject({ mode: "append", only_new: true });
  expect(requestOf({ ...DRAFT, only_new: true })).not.toHaveProperty("only_new");
  expect(requestOf({ ...DRAFT, format: "parquet", delimiter: ";" }).csv).toBeUndefined();
  expect(requestOf({ ...DRAFT, place: "s3", path: "s3://b/x", access_key_id: "k", secret: "lake", allow_http: true }).s3).toEqual({ access_key_id: "k", secret_access_key: { secret: "lake" }, allow_http: true });
  expect(requestOf({ ...DRAFT, endpoint: "http://127.0.0.1:9000" }).s3).toBeUndefined();
});

it("asks for files to stay where they are only of Parquet that the server reaches", () => {
  const abilities = { register: true, formats: [] };
  expect(mayRegister({ format: "parquet" }, DRAFT, abilities)).toBe(true);
  expect(mayRegister({ format: "csv" }, DRAFT, abilities)).toBe(false);
  expect(mayRegister({ format: "parquet" }, { ...DRAFT, place: "upload" }, abilities)).toBe(false);
  expect(mayRegister({ format: "parquet" }, { ...DRAFT, mode: "replace" }, abilities)).toBe(false);
  expect(mayRegister({ format: "parquet" }, DRAFT, { ...abilities, register: false })).toBe(false);
  const asked = requestOf({ ...DRAFT, register: true, on_error: "skip", types: { id: "string" }, key: ["id"], partition_by: "year" }, "parquet");
  expect(asked).toEqual({ path: "data/sales.csv", into: "shop.sale", mode: "register" });
});

it("says which sheet or which state is meant, as the format was found or chosen", () => {
  expect(requestOf({ ...DRAFT, sheet: " 2024 ", range: "A1:C9" }, "excel").excel).toEqual({ sheet: "2024", range: "A1:C9" });
  expect(requestOf({ ...DRAFT, sheet: "2024" }, "csv").excel).toBeUndefined();
  expect(requestOf({ ...DRAFT, version: "7" }, "delta").delta).toEqual({ version: 7 });
  expect(requestOf({ ...DRAFT, version: "2026-01-31T00:00:00Z" }, "delta").delta).toEqual({ timestamp: "2026-01-31T00:00:00Z" });
  expect(requestOf({ ...DRAFT, format: "iceberg", version: "8421" }).iceberg).toEqual({ snapshot: "8421" });
  expect(requestOf({ ...DRAFT, format: "iceberg", version: "audit" }).iceberg).toEqual({ ref: "audit" });
});

it("begins with what the address names", () => {
  expect(draftOf({})).toEqual(EMPTY);
  expect(draftOf({ into: "shop.sale" })).toMatchObject({ namespace: "shop", table: "sale", mode: "append", place: "upload" });
  expect(draftOf({ into: "shop.sale", path: "data/x.csv", mode: "create" })).toMatchObject({ mode: "create", place: "path", path: "data/x.csv", file: "" });
  expect(draftOf({ into: "shop.sale", path: "upload://0f3a/x.csv", mode: "register" })).toMatchObject({ mode: "append", place: "upload", path: "upload://0f3a/x.csv", file: "x.csv" });
  expect(draftOf({ path: "s3://b/x" }).place).toBe("s3");
});

it("splits partition fields outside of brackets", () => {
  expect(splitFields(" year,day(at), bucket(16, id) ,")).toEqual(["year", "day(at)", "bucket(16, id)"]);
});

it("makes a name of a table from that of a file", () => {
  expect(["data/Sales 2024.csv.gz", "s3://b/orders/", "a/2024.parquet", "销售.xlsx", ""].map(tableNameOf)).toEqual(["sales_2024", "orders", "t_2024", "销售", ""]);
});

it("names what is missing at its field", () => {
  expect(faultsOf(EMPTY)).toEqual({ path: "import.fault.file", namespace: "form.fault.namespace", table: "form.fault.name" });
  expect(faultsOf({ ...DRAFT, place: "s3", access_key_id: "k" })).toEqual({ path: "import.fault.s3", secret: "import.fault.secret" });
  expect(faultsOf(DRAFT)).toEqual({});
});
