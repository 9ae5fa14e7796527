import { expect, it } from "vitest";
import type { TableFile } from "~/api/types";
import { partitionText, partitionValues } from "./partition";
import { smallOf, treeOf, wornOf } from "./tree";

const file = (path: string, partition: string | null, bytes: number, deleted_rows = 0): TableFile => ({ path, content: "data", partition, bytes, rows: 100, deleted_rows });

it("writes counted times as people do", () => {
  const spec = ["identity", "month", "day", "hour", "year", "bucket[16]"].map((transform) => ({ name: `x_${transform}`, transform, source: "x" }));
  expect(partitionText("x_identity=eu/x_month=672", spec)).toBe("x_identity=eu/x_month=2026-01");
  expect(partitionText("x_month=-1/x_year=56", spec)).toBe("x_month=1969-12/x_year=2026");
  expect(partitionText("x_day=20484/x_hour=491628", spec)).toBe("x_day=2026-01-31/x_hour=2026-01-31 12");
  expect(partitionText("x_day=2026-01-31/x_bucket[16]=7/y=a=b", spec)).toBe("x_day=2026-01-31/x_bucket[16]=7/y=a=b");
  expect(partitionText(null, spec)).toBe("");
  expect(partitionValues("x_identity=eu/x_month=672", spec)).toBe("eu · 2026-01");
});

it("puts files below their partition, the largest first, and the smallest of many together", () => {
  const files = [file("a", "eu", 10, 25), file("b", "us", 90_000_000), file("c", "eu", 30), file("d", "eu", 5), file("e", "eu", 4), { ...file("x", "eu", 1), content: "position_deletes" as const }];
  const tree = treeOf(files, 2);
  expect(tree.map(({ partition, bytes }) => [partition, bytes])).toEqual([["us", 90_000_000], ["eu", 49]]);
  expect(tree[1]?.files.map(({ path, files: count, bytes }) => [path, count, bytes])).toEqual([["c", 1, 30], [null, 3, 19]]);
  const [rest] = tree[1]?.files.slice(-1) ?? [];
  expect(rest && [wornOf(rest), smallOf(rest)]).toEqual([25 / 300, 1]);
  expect(tree[0]?.files.map(smallOf)).toEqual([0]);
});
