import { useCallback } from "react";
import { useT } from "~/i18n";

/** Names that the server gives to itself and to those who did not sign in; no user can have one of them. */
const WORDS = { system: "who.system", local: "who.local", anonymous: "who.anonymous" } as const;

const isWord = (name: string): name is keyof typeof WORDS => Object.hasOwn(WORDS, name);

/** Says who did something: a user by name, anyone else in the reader's language. */
export function usePrincipal(): (name: string) => string {
  const t = useT();
  return useCallback((name) => (isWord(name) ? t(WORDS[name]) : name), [t]);
}
