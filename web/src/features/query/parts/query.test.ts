import { describe, expect, it } from "vitest";
import { chosenChart, seriesPoints, suggestChart } from "./chart";
import { examplesFor } from "./examples";
import { addQuery, parseHistory, type PastQuery } from "./history";

const column = (name: string, type: string) => ({ name, type });

describe("suggestChart", () => {
  it("draws a line over time, bars over names, points for two measures", () => {
    const time = [column("day", "timestamp"), column("flights", "int64")];
    expect(suggestChart(time, [["2013-01-01T00:00:00Z", 1]])).toEqual({ type: "line", x: "day", y: ["flights"] });
    const names = [column("origin", "utf8"), column("flights", "int64")];
    expect(suggestChart(names, [["EWR", 1]])).toEqual({ type: "bar", x: "origin", y: ["flights"] });
    const two = [column("miles", "float64"), column("minutes", "float64")];
    expect(suggestChart(two, [[5, 1], [3, 2]])).toEqual({ type: "scatter", x: "miles", y: ["minutes"] });
  });

  it("takes a first column that only grows for the axis", () => {
    const hours = [column("hour", "int64"), column("delay", "float64")];
    expect(suggestChart(hours, [[5, 1], [6, 2]])).toEqual({ type: "bar", x: "hour", y: ["delay"] });
  });

  it("leaves out a measure of another scale", () => {
    const columns = [column("origin", "utf8"), column("flights", "int64"), column("delay", "float64")];
    expect(suggestChart(columns, [["EWR", 120_000, 15]])?.y).toEqual(["delay"]);
  });

  it("draws nothing without numbers", () => {
    expect(suggestChart([column("name", "utf8")], [["a"]])).toBeNull();
  });
});

describe("chosenChart", () => {
  const columns = [column("origin", "utf8"), column("flights", "int64")];
  const suggested = { type: "bar" as const, x: "origin", y: ["flights"] };

  it("follows the address as far as the result has it", () => {
    expect(chosenChart(suggested, columns, { chart: "line", x: "gone", y: "flights" })).toEqual({ ...suggested, type: "line" });
    expect(chosenChart(suggested, columns, { y: "gone" })).toBeNull();
  });

  it("reads decimals that came as text", () => {
    expect(seriesPoints(columns, [["EWR", "1.5"], ["JFK", null]], "origin", "flights")).toEqual([["EWR", 1.5], ["JFK", null]]);
  });
});

describe("the history", () => {
  const past = (sql: string, at_ms: number): PastQuery => ({ sql, at_ms, state: "done", elapsed_ms: 1, rows: 1 });

  it("keeps a text once, newest first, at most a hundred", () => {
    const list = addQuery(addQuery(addQuery([], past("a", 1)), past("b", 2)), past("a", 3));
    expect(list.map((one) => one.sql + one.at_ms)).toEqual(["a3", "b2"]);
    const many = Array.from({ length: 150 }, (_, index) => past(`q${index}`, index)).reduce(addQuery, [] as PastQuery[]);
    expect(many).toHaveLength(100);
  });

  it("survives a damaged store", () => {
    expect(parseHistory("{nonsense")).toEqual([]);
    expect(parseHistory('[{"sql":"a","at_ms":1},{"x":1}]')).toHaveLength(1);
  });
});

describe("examplesFor", () => {
  it("offers only what the tables can answer", () => {
    const flights = { name: "nyc.flights", columns: ["origin", "dep_delay"].map((name) => column(name, "int64")) };
    const titles = examplesFor({ tables: [flights], functions: [], keywords: [] }).map((one) => one.title);
    expect(titles).toEqual(["sql.example.delay_by_airport"]);
    const shop = { name: "shop.orders", columns: [column("id", "int64")] };
    expect(examplesFor({ tables: [shop], functions: [], keywords: [] })[0]?.sql).toContain("FROM shop.orders");
  });
});
