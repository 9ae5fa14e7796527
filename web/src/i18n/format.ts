import { useMemo } from "react";
import { type Language, useLanguage } from ".";

const BYTES = ["B", "kB", "MB", "GB", "TB", "PB"];

export interface Format {
  /** Every digit, such as `336,776`. */
  count: (value: number) => string;
  /** Few characters, such as `337K` or `34万`. */
  compact: (value: number) => string;
  /** Powers of 1000. */
  bytes: (value: number) => string;
  /** Milliseconds as the largest fitting unit, such as `12 ms`, `3.4 s`, `2 min`. */
  duration: (value_ms: number) => string;
  percent: (value: number) => string;
  time: (iso: string) => string;
  date: (iso: string) => string;
  /** Such as `3 minutes ago`. */
  ago: (iso: string, now_ms?: number) => string;
}

function durationOf(language: Language) {
  const unit = (value: number, name: string, digits: number) =>
    new Intl.NumberFormat(language, {
      style: "unit",
      unit: name,
      unitDisplay: "short",
      maximumFractionDigits: digits,
    }).format(value);
  return (ms: number): string => {
    const value = Math.abs(ms);
    if (value < 10) return unit(ms, "millisecond", 1);
    if (value < 1000) return unit(ms, "millisecond", 0);
    if (value < 60_000) return unit(ms / 1000, "second", value < 10_000 ? 1 : 0);
    if (value < 3_600_000) return unit(ms / 60_000, "minute", value < 600_000 ? 1 : 0);
    if (value < 86_400_000) return unit(ms / 3_600_000, "hour", 1);
    return unit(ms / 86_400_000, "day", 1);
  };
}

function agoOf(language: Language) {
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ];
  return (iso: string, now_ms = Date.now()): string => {
    const seconds = Math.round((new Date(iso).getTime() - now_ms) / 1000);
    for (const [size, unit] of steps) {
      if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
    }
    return relative.format(0, "second");
  };
}

/** Numbers, sizes and times as a language writes them. */
export function formatsOf(language: Language): Format {
  const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  const small = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const compact = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
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
    count: (value) => (Math.abs(value) < 10 && !Number.isInteger(value) ? small : whole).format(value),
    compact: (value) => (Math.abs(value) < 10_000 ? whole.format(value) : compact.format(value)),
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
    percent: (value) => percent.format(value),
    time: (iso) => time.format(new Date(iso)),
    date: (iso) => date.format(new Date(iso)),
    ago: agoOf(language),
  };
}

/** Numbers, sizes and times as the reader's language writes them. */
export function useFormat(): Format {
  const [language] = useLanguage();
  return useMemo(() => formatsOf(language), [language]);
}
