import { Button } from "@mantine/core";
import { ApiError } from "~/api/client";
import { useT } from "~/i18n";
import { AppLink } from "./AppLink";
import { Note } from "./ErrorNote";
import { TextLink } from "./TextLink";

/** Where things of a kind are: their list, and each of them. */
export interface Place {
  label: string;
  href: string;
  /** The page of one of them, by name. */
  of?: (name: string) => string;
}

/** The name that the server thinks was meant. */
export function similarName(error: ApiError): string | undefined {
  return /^did you mean `([^`]+)`\?/.exec(error.hint ?? "")?.[1];
}

export const isMissing = (error: unknown): error is ApiError => error instanceof ApiError && error.kind === "not_found";

/** What was asked for is not there, so asking again does not help: the way on is its list, or what was probably meant. */
export function Missing({ error, place }: { error: ApiError; place: Place }) {
  const t = useT();
  const similar = place.of ? similarName(error) : undefined;
  const [before, after = ""] = t("error.did_you_mean").split("{name}");
  return (
    <Note
      tone="warn"
      message={t("error.missing")}
      hint={
        similar && place.of ? (
          <>
            {before}
            <TextLink href={place.of(similar)}>{similar}</TextLink>
            {after}
          </>
        ) : (
          t("error.hint.not_found")
        )
      }
      action={
        <Button variant="default" component={AppLink} href={place.href}>
          {t("error.to_list", { list: place.label })}
        </Button>
      }
    />
  );
}
