import { expect, it } from "vitest";
import { differenceOf, rateOf, withSample } from "./difference";

const columns = [{ name: "id" }, { name: "delay" }];

it("tells new rows from changed ones by the key", () => {
  const before = { columns, rows: [[1, 5], [2, null]] };
  const now = { columns, rows: [[1, 6], [2, null], [3, 0]] };
  const { fresh, changed } = differenceOf(before, now, ["id"]);
  expect([...fresh]).toEqual([[3, 0]]);
  expect([...changed]).toEqual([[[1, 6], [1, 5]]]);
  expect([...differenceOf(before, now, []).fresh]).toEqual([[1, 6], [3, 0]]);
});

it("compares nothing at the first look, nor after a change of columns", () => {
  const now = { columns, rows: [[1, 6]] };
  expect(differenceOf(undefined, now, ["id"]).fresh.size).toBe(0);
  expect(differenceOf({ columns: [{ name: "id" }], rows: [[2]] }, now, ["id"]).fresh.size).toBe(0);
});

it("counts changes per second over some seconds", () => {
  let samples = withSample([], { at_ms: 0, offset: 100 }, 5000);
  expect(rateOf(samples)).toBeUndefined();
  samples = withSample(samples, { at_ms: 2000, offset: 300 }, 5000);
  expect(rateOf(samples)).toBe(100);
  samples = withSample(samples, { at_ms: 6000, offset: 300 }, 5000);
  expect(samples.map(({ at_ms }) => at_ms)).toEqual([2000, 6000]);
  expect(rateOf(samples)).toBe(0);
  expect(withSample(samples, { at_ms: 7000, offset: 1 }, 5000)).toEqual([{ at_ms: 7000, offset: 1 }]);
});
