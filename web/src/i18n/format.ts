import { useMemo } from "react";
import { type Language, useLanguage } from ".";

const BYTES = ["B", "kB", "MB", "GB", "TB", "PB"];

export interface Format {
  /** Every digit, such as `336,776`. */
  count: (value: number) => string;
  /** Few characters, such as `337K` or `34万`. */
  compact: (value: number) => string;
  /** As few characters as `compact`, also below ten thousand, so that the marks of one axis look alike. */
  axis: (value: number) => string;
  /** Powers of 1000. */
  bytes: (value: number) => string;
  /** Milliseconds as the largest fitting units, such as `12 ms`, `3.4 s`, `2 min`, `2 h 20 min`. */
  duration: (value_ms: number) => string;
  /** A span as configurations write it, such as `7d`, in words; anything else as it is. */
  span: (text: string) => string;
  percent: (value: number) => string;
  time: (iso: string) => string;
  /** Hours and minutes only. */
  minute: (iso: string) => string;
  date: (iso: string) => string;
  /** Such as `3 min ago`. */
  ago: (iso: string, now_ms?: number) => string;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const SPAN_MS: Record<string, number> = { ms: 1, s: SECOND_MS, m: MINUTE_MS, min: MINUTE_MS, h: HOUR_MS, d: DAY_MS, w: 7 * DAY_MS };
type Unit = "millisecond" | "second" | "minute" | "hour" | "day";
/** The signs of the international system; the short English words of browsers (`hr`, `sec`) read worse in figures. */
const SIGNS: Record<Unit, string> = { millisecond: "ms", second: "s", minute: "min", hour: "h", day: "d" };

function durationOf(language: Language) {
  const unit = (value: number, name: Unit, digits: number) => {
    if (language === "en") return `${new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value)} ${SIGNS[name]}`;
    return new Intl.NumberFormat(language, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits }).format(value);
  };
  /** A large unit with the next smaller one, unless that is 0. */
  const two = (ms: number, large: Unit, large_ms: number, small: Unit, small_ms: number) => {
    const whole = Math.floor(ms / large_ms);
    const rest = Math.floor((ms - whole * large_ms) / small_ms);
    return rest === 0 ? unit(whole, large, 0) : `${unit(whole, large, 0)} ${unit(rest, small, 0)}`;
  };
  return (ms: number): string => {
    const value = Math.abs(ms);
    if (value < 10) return unit(ms, "millisecond", 1);
    if (value < SECOND_MS) return unit(ms, "millisecond", 0);
    if (value < MINUTE_MS) return unit(ms / SECOND_MS, "second", value < 10_000 ? 1 : 0);
    if (value < HOUR_MS) return two(value, "minute", MINUTE_MS, "second", SECOND_MS);
    if (value < DAY_MS) return two(value, "hour", HOUR_MS, "minute", MINUTE_MS);
    return two(value, "day", DAY_MS, "hour", HOUR_MS);
  };
}

function spanOf(language: Language) {
  const units = (value: number, name: string) =>
    new Intl.NumberFormat(language, { style: "unit", unit: name, unitDisplay: "long" }).format(value);
  return (text: string): string => {
    const match = /^(\d+)\s*(ms|s|m|min|h|d|w)$/.exec(text.trim());
    const ms = Number(match?.[1]) * (SPAN_MS[match?.[2] ?? ""] ?? Number.NaN);
    if (!Number.isFinite(ms)) return text;
    for (const [name, size] of [["day", DAY_MS], ["hour", HOUR_MS], ["minute", MINUTE_MS], ["second", SECOND_MS]] as const) {
      if (ms >= size && ms % size === 0) return units(ms / size, name);
    }
    return text;
  };
}

function agoOf(language: Language) {
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "narrow" });
  const steps: [number, Exclude<Unit, "millisecond">][] = [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  return (iso: string, now_ms = Date.now()): string => {
    const seconds = Math.round((new Date(iso).getTime() - now_ms) / 1000);
    for (const [size, unit] of steps) {
      if (Math.abs(seconds) < size) continue;
      const count = Math.trunc(seconds / size);
      // The signs that durations have, too; what is to come keeps its words.
      return language === "en" && count < 0 ? `${-count} ${SIGNS[unit]} ago` : relative.format(count, unit);
    }
    return relative.format(0, "second");
  };
}

/** A rate that a server computed as -0 is 0 to people. */
const unsigned = (value: number) => (Object.is(value, -0) ? 0 : value);

/** Numbers, sizes and times as a language writes them. */
export function formatsOf(language: Language): Format {
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const small = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const compact = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
  const minute = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hour12: false });
  const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
  const time = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const date = new Intl.DateTimeFormat(language, {
    year: "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hour12: false,
  });
  return {
    count: (value) => (Math.abs(value) < 10 && !Number.isInteger(value) ? small : whole).format(unsigned(value)),
    compact: (value) => (Math.abs(value) < 10_000 ? whole : compact).format(unsigned(value)),
    axis: (value) => compact.format(unsigned(value)),
    bytes: (value) => {
      let size = value;
      let unit = 0;
      while (Math.abs(size) >= 1000 && unit < BYTES.length - 1) {
        size /= 1000;
        unit += 1;
      }
      return `${(size < 10 && unit > 0 ? small : whole).format(size)} ${BYTES[unit]}`;
    },
    duration: durationOf(language),
    span: spanOf(language),
    percent: (value) => percent.format(value),
    time: (iso) => time.format(new Date(iso)),
    minute: (iso) => minute.format(new Date(iso)),
    date: (iso) => date.format(new Date(iso)),
    ago: agoOf(language),
  };
}

/** Numbers, sizes and times as the reader's language writes them. */
export function useFormat(): Format {
  const [language] = useLanguage();
  return useMemo(() => formatsOf(language), [language]);
}
