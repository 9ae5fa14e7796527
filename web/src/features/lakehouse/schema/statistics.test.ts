import { expect, it } from "vitest";
import type { TableField } from "~/api/types";
import { statisticsOf, statisticsSql } from "./statistics";

const FIELDS: TableField[] = [
  { id: 1, name: "id", type: "long", required: true },
  { id: 2, name: "it's", type: "string", required: false },
  { id: 3, name: "tags", type: "list<string>", required: false },
];

it("asks once for all columns, and compares numbers as numbers", () => {
  const sql = statisticsSql({ namespace: "shop", table: "item" }, FIELDS);
  expect(sql).toContain("min(CAST(lower_bounds['id'] AS BIGINT)) AS v3");
  expect(sql).toContain("max(upper_bounds['it''s']) AS v9");
  expect(sql).toContain("NULL AS v13");
  expect(sql.endsWith('FROM shop."item$files" WHERE content = 0')).toBe(true);
});

it("reads what the files know, and leaves open what none counted", () => {
  const rows = [[500, 4, 0, 1, 500, "1200", 3, 20, "a", "z", 80, 0, 500, null, null, null]];
  const read = statisticsOf({ query_id: "q", columns: [], rows, row_count: 1, truncated: false, elapsed_ms: 1, stats: { files_total: 0, files_scanned: 0, rows_scanned: 0, bytes_scanned: 0 } }, FIELDS);
  expect(read.get(1)).toEqual({ nulls: 0, rows: 500, least: "1", most: "500", bytes: 1200 });
  expect(read.get(2)).toMatchObject({ nulls: 20, least: "a", most: "z" });
  expect(read.get(3)?.nulls).toBeUndefined();
});
