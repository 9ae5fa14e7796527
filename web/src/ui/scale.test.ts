import { expect, it } from "vitest";
import { scaleMax } from "./scale";

const steady = Array.from({ length: 60 }, () => 140);

it("reaches to the peak while peaks are usual", () => {
  expect(scaleMax([10, 400, 120], 10)).toBe(500);
  expect(scaleMax([], 10)).toBe(10);
});

it("cuts a burst off that would press the rest flat", () => {
  expect(scaleMax([252_820, ...steady], 10)).toBe(250);
  expect(scaleMax([252_820, ...steady.map(() => 0)], 10)).toBe(500_000);
});
