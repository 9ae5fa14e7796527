import { Anchor } from "@mantine/core";
import type { ReactNode } from "react";
import { AppLink } from "./AppLink";

/** A link in a text or a table cell. */
export function TextLink({ href, children, quiet }: { href: string; children: ReactNode; quiet?: boolean }) {
  return (
    <Anchor component={AppLink} href={href} inherit c={quiet ? "inherit" : undefined} underline={quiet ? "hover" : "hover"}>
      {children}
    </Anchor>
  );
}
