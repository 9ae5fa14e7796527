import { describe, expect, it } from "vitest";
import { paths } from "./paths";
import { parseView, stringifyView } from "./view";

describe("the view in the address", () => {
  it("keeps texts that look like numbers", () => {
    expect(parseView("?q=1&offset=007&x=true")).toEqual({ q: "1", offset: "007", x: "true" });
    expect(parseView(stringifyView({ q: "SELECT '50%' & \n", sort: undefined }))).toEqual({ q: "SELECT '50%' & \n" });
    expect(stringifyView({})).toBe("");
  });

  it("names places whatever the names hold", () => {
    expect(paths.table("flights.flights", { tab: "files" })).toBe("/tables/flights/flights?tab=files");
    expect(paths.table("a.b.c")).toBe("/tables/a/b.c");
    expect(paths.topic("a/b ?")).toBe("/topics/a%2Fb%20%3F");
  });
});
