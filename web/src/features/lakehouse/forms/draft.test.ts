import { expect, it } from "vitest";
import { createSql, exampleOf, faultsOf, type TableDraft, transformsOf } from "./draft";

const DRAFT: TableDraft = {
  namespace: "crm",
  table: "customer",
  columns: [
    { id: 1, name: "id", type: "BIGINT", required: false, key: true },
    { id: 2, name: "Name", type: "TEXT", required: true, key: false },
    { id: 3, name: "since", type: "TIMESTAMPTZ", required: false, key: false },
  ],
  partitions: [{ id: 1, transform: "month", column: 3, width: "" }, { id: 2, transform: "bucket", column: 1, width: "16" }],
  properties: [{ id: 1, name: "comment", value: "who buys; it's ours" }],
};

it("writes the statement, and makes the namespace where it is missing", () => {
  const create = `CREATE TABLE crm.customer (
  id BIGINT PRIMARY KEY,
  "Name" TEXT NOT NULL,
  since TIMESTAMPTZ
)
PARTITIONED BY (month(since), bucket(16, id))
WITH ('comment' = 'who buys; it''s ours')`;
  expect(createSql(DRAFT, ["crm"])).toEqual([create]);
  expect(createSql(DRAFT, [])).toEqual(["CREATE SCHEMA IF NOT EXISTS crm", create]);
});

it("writes a key of several columns behind them", () => {
  const [sql] = createSql({ ...DRAFT, columns: DRAFT.columns.map((column) => ({ ...column, key: column.id !== 2 })), partitions: [], properties: [] }, ["crm"]);
  expect(sql).toContain(",\n  PRIMARY KEY (id, since)\n)");
});

it("names what is wrong at its place", () => {
  expect(faultsOf(DRAFT, [])).toEqual({});
  expect(faultsOf(DRAFT, ["crm.customer"])).toEqual({ table: "form.fault.taken" });
  const wrong: TableDraft = {
    namespace: " ", table: "",
    columns: [{ id: 1, name: "a", type: "", required: false, key: false }, { id: 2, name: "a", type: "TEXT[]", required: false, key: false }],
    partitions: [{ id: 1, transform: "month", column: 2, width: "" }, { id: 2, transform: "bucket", column: 9, width: "4" }],
    properties: [{ id: 1, name: "", value: "x" }],
  };
  expect(faultsOf(wrong, [])).toEqual({ namespace: "form.fault.namespace", table: "form.fault.name", "column.1.type": "form.fault.type", "column.2.name": "form.fault.twice", "partition.1": "form.fault.transform", "partition.2": "form.fault.partition_column", "property.1": "form.fault.name" });
  expect(faultsOf({ ...DRAFT, partitions: [{ id: 1, transform: "bucket", column: 1, width: "0" }] }, [])).toEqual({ "partition.1": "form.fault.width" });
});

it("knows what a transform can be put on, and shows what it gives", () => {
  expect(transformsOf("decimal(9, 2)")).toEqual(["identity", "bucket", "truncate"]);
  expect(transformsOf("DOUBLE")).toEqual(["identity"]);
  expect(transformsOf("TEXT[]")).toEqual([]);
  expect(exampleOf("hour", "TIMESTAMPTZ", "")).toEqual(["2026-01-31 12:34:56", "2026-01-31 12"]);
  expect(exampleOf("truncate", "TEXT", "4")).toEqual(["Shanghai", "Shan"]);
  expect(exampleOf("truncate", "BIGINT", "100")).toEqual(["1234", "1200"]);
  expect(exampleOf("bucket", "BIGINT", "16")).toEqual(["42", "0 … 15"]);
  expect(exampleOf("bucket", "BIGINT", "x")).toBeUndefined();
});

it("partitions by what the server can partition by", () => {
  expect(["LIST", "list<string>", "STRUCT<a INT>", "MAP<TEXT, INT>", "ROW(a INT)", "TEXT[]"].flatMap(transformsOf)).toEqual([]);
  expect(transformsOf("BYTEA")).toEqual(["identity", "bucket", "truncate"]);
  expect(transformsOf("REAL")).toEqual(["identity"]);
});

it("shows a place for names that are not entered yet", () => {
  expect(createSql({ ...DRAFT, namespace: " ", table: "", columns: DRAFT.columns.slice(0, 1), partitions: [], properties: [] }, [])).toEqual(['CREATE TABLE "…"."…" (\n  id BIGINT PRIMARY KEY\n)']);
});
