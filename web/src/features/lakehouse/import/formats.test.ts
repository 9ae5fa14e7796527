import { expect, it } from "vitest";
import { abilitiesOf, choices, endingsOf, labelOf, typeLabel } from "./formats";

const api = (format: string, mode: string) => ({ components: { schemas: { ImportRequest: { properties: { format: { description: format }, mode: { description: mode } } } } } });

it("offers what the server says it reads, and the first three in any case", () => {
  expect(abilitiesOf(undefined)).toEqual({ register: false, formats: ["csv", "json", "parquet"] });
  expect(abilitiesOf(api("`csv`, `json` or `parquet`; by the ending", "`create`, `append` or `replace`"))).toEqual(abilitiesOf(undefined));
  expect(abilitiesOf(api("`csv`, `avro`, `excel`, `delta` or `iceberg`", "`create` or `register`: files stay"))).toEqual({ register: true, formats: ["csv", "json", "parquet", "avro", "excel", "delta", "iceberg"] });
});

it("calls formats as people do, and one that it does not know by its name", () => {
  expect(choices({ register: false, formats: ["csv", "delta"] })).toEqual([{ value: "csv", label: "CSV" }, { value: "delta", label: "Delta Lake" }]);
  expect([labelOf("excel"), labelOf("lance")]).toEqual(["Excel", "lance"]);
  expect(endingsOf({ register: false, formats: ["csv", "excel", "delta"] })).toBe(".csv,.tsv,.txt,.xlsx,.xls,.gz");
});

it("calls types of Parquet files as those of text files", () => {
  expect(["Int64", "Float64", "Utf8View", "Boolean", "Decimal128(18, 2)", "Timestamp(Microsecond, None)", 'Timestamp(Microsecond, Some("UTC"))', "decimal(18,2)", "List(Int64)"].map(typeLabel)).toEqual(["int64", "float64", "string", "boolean", "decimal(18,2)", "timestamp", "timestamptz", "decimal(18,2)", "List(Int64)"]);
});
