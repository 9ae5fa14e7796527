import { expect, it } from "vitest";
import { ApiError } from "~/api/client";
import { isMissing, similarName } from "./Missing";

const error = (kind: "not_found" | "unavailable", hint?: string) => new ApiError(404, { kind, message: "", ...(hint ? { hint } : {}) });

it("reads what was probably meant from the hint of the server", () => {
  expect(similarName(error("not_found", "did you mean `nyc.flights`?"))).toBe("nyc.flights");
  expect(similarName(error("not_found", "look in the list"))).toBeUndefined();
  expect(similarName(error("not_found"))).toBeUndefined();
});

it("tells what is not there from what does not answer", () => {
  expect(isMissing(error("not_found"))).toBe(true);
  expect(isMissing(error("unavailable"))).toBe(false);
  expect(isMissing(new Error("not_found"))).toBe(false);
});
