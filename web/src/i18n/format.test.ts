import { describe, expect, it } from "vitest";
import { formatsOf } from "./format";

const en = formatsOf("en");
const zh = formatsOf("zh-CN");

describe("formats", () => {
  it("counts every digit and shortens only large numbers", () => {
    expect(en.count(336776)).toBe("336,776");
    expect(en.count(0.25)).toBe("0.3");
    expect(en.count(-0)).toBe("0");
    expect(en.compact(9999)).toBe("9,999");
    expect(en.compact(336776)).toBe("336.8K");
    expect(zh.compact(336776)).toBe("33.7万");
  });

  it("gives sizes in powers of 1000", () => {
    expect(en.bytes(0)).toBe("0 B");
    expect(en.bytes(999)).toBe("999 B");
    expect(en.bytes(1500)).toBe("1.5 kB");
    expect(en.bytes(2_140_000_000)).toBe("2.1 GB");
  });

  it("gives times in the largest fitting unit", () => {
    expect(en.duration(8.44)).toBe("8.4 ms");
    expect(en.duration(940)).toBe("940 ms");
    expect(en.duration(3400)).toBe("3.4 s");
    expect(en.duration(90_000)).toBe("1 min 30 s");
    expect(en.duration(8_430_000)).toBe("2 h 20 min");
    expect(en.duration(7_200_000)).toBe("2 h");
    expect(zh.duration(940)).toBe("940毫秒");
    expect(zh.duration(8_430_000)).toBe("2小时 20分钟");
  });

  it("says a configured span in words and leaves other texts", () => {
    expect(en.span("7d")).toBe("7 days");
    expect(en.span("90m")).toBe("90 minutes");
    expect(zh.span("7d")).toBe("7天");
    expect(en.span("for ever")).toBe("for ever");
  });

  it("writes the marks of an axis alike", () => {
    expect([0, 5000, 10_000].map(en.axis)).toEqual(["0", "5K", "10K"]);
  });

  it("says how long ago", () => {
    const now = Date.parse("2026-01-01T12:00:00Z");
    expect(en.ago("2026-01-01T11:58:30Z", now)).toBe("1 min ago");
    expect(en.ago("2026-01-01T12:00:00Z", now)).toBe("now");
    expect(zh.ago("2026-01-01T11:58:00Z", now)).toBe("2分钟前");
  });
});
