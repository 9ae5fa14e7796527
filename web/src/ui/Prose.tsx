import { Fragment } from "react";

/** A text in which names stand between backticks, as the server writes them. */
export function Prose({ text }: { text: string | null | undefined }) {
  if (!text) return null;
  return text.split("`").map((part, index) => <Fragment key={index}>{index % 2 === 1 ? <code>{part}</code> : part}</Fragment>);
}
