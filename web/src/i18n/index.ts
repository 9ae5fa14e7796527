import { createContext, useContext, useMemo } from "react";
import type en from "./en.json";
import type zh from "./zh-CN.json";

export type MessageKey = keyof typeof en;
export type Language = "en" | "zh-CN";
export type Params = Record<string, string | number>;
export type Dictionary = Record<MessageKey, string>;

// Both languages have the same keys; the compiler refuses a key that only one of them has.
type Same<A, B> = [Exclude<keyof A, keyof B>, Exclude<keyof B, keyof A>] extends [never, never] ? true : never;
export const SAME_KEYS: Same<typeof en, typeof zh> = true;

export const LANGUAGES: { id: Language; label: string }[] = [
  { id: "en", label: "English" },
  { id: "zh-CN", label: "中文" },
];

const STORED = "tarn-language";

/** The chosen language, else the browser's. */
export function preferredLanguage(): Language {
  const stored = localStorage.getItem(STORED);
  if (stored === "en" || stored === "zh-CN") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

export function storeLanguage(language: Language): void {
  localStorage.setItem(STORED, language);
}

export async function loadDictionary(language: Language): Promise<Dictionary> {
  const file = language === "en" ? await import("./en.json") : await import("./zh-CN.json");
  return file.default;
}

const PLURAL = /\{(\w+), plural, one \{([^{}]*)\} other \{([^{}]*)\}\}/g;
const NAME = /\{(\w+)\}/g;

/**
 * Puts parameters into a message: `{name}`, and `{count, plural, one {# row} other {# rows}}` where `#` is the number
 * as the language writes it.
 */
export function fill(message: string, params: Params, language: Language): string {
  const number = (value: string | number) =>
    typeof value === "number" ? new Intl.NumberFormat(language).format(value) : value;
  return message
    .replace(PLURAL, (_, name: string, one: string, other: string) => {
      const count = params[name] ?? 0;
      const form = new Intl.PluralRules(language).select(Number(count)) === "one" ? one : other;
      return form.replaceAll("#", number(count));
    })
    .replace(NAME, (whole, name: string) => (name in params ? number(params[name] ?? "") : whole));
}

export interface I18n {
  language: Language;
  dictionary: Dictionary;
  change: (language: Language) => void;
}

export const I18nContext = createContext<I18n | null>(null);

function useI18n(): I18n {
  const value = useContext(I18nContext);
  if (!value) throw new Error("the language is set at the root of the console");
  return value;
}

export type Translate = (key: MessageKey, params?: Params) => string;

/** The function that says things in the reader's language. */
export function useT(): Translate {
  const { dictionary, language } = useI18n();
  return useMemo(() => (key, params) => fill(dictionary[key], params ?? {}, language), [dictionary, language]);
}

export function useLanguage(): [Language, (language: Language) => void] {
  const { language, change } = useI18n();
  return [language, change];
}
