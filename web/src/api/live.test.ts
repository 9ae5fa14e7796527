import { describe, expect, it } from "vitest";
import { initialLive, joinRates, reduceLive, SILENCE_MS_MAX, staleKeys, waitBefore } from "./live";

const point = (at_ms: number) => ({ at_ms, rows_per_s: at_ms, queries_per_s: 0 });

describe("the live connection", () => {
  it("is live from the first sign and counts attempts from the last loss", () => {
    const open = reduceLive(initialLive, { type: "open", at_ms: 10 });
    expect(open).toEqual({ connection: "live", attempts: 0, seen_ms: 10 });
    const lost = reduceLive(reduceLive(open, { type: "lost" }), { type: "lost" });
    expect(lost).toEqual({ connection: "retrying", attempts: 2, seen_ms: 10 });
    expect(reduceLive(lost, { type: "event", at_ms: 99 })).toEqual({ connection: "live", attempts: 0, seen_ms: 99 });
  });

  it("takes a long silence for a loss, once", () => {
    const live = reduceLive(initialLive, { type: "event", at_ms: 1000 });
    expect(reduceLive(live, { type: "tick", at_ms: 1000 + SILENCE_MS_MAX })).toBe(live);
    const silent = reduceLive(live, { type: "tick", at_ms: 1001 + SILENCE_MS_MAX });
    expect(silent.connection).toBe("retrying");
    expect(reduceLive(silent, { type: "tick", at_ms: 9e9 })).toBe(silent);
  });

  it("waits longer with each attempt, but never longer than 15 s", () => {
    expect([1, 2, 3, 4, 40].map(waitBefore)).toEqual([500, 1000, 2000, 4000, 15_000]);
  });
});

describe("joinRates", () => {
  it("keeps what the new answer does not have, within the window", () => {
    const joined = joinRates([point(0), point(50), point(100)], [point(100), point(120)], 80);
    expect(joined.map((one) => one.at_ms)).toEqual([50, 100, 120]);
  });

  it("keeps the old points when nothing came", () => {
    expect(joinRates([point(1)], [], 100)).toEqual([point(1)]);
  });
});

describe("staleKeys", () => {
  it("knows what a change makes old", () => {
    expect(staleKeys({ kind: "source", name: "shop" })).toContain("ingest");
    expect(staleKeys({ kind: "table", name: "a.b" })).toContain("completion");
    expect(staleKeys({ kind: "something", name: "" })).toEqual(["something"]);
  });
});
