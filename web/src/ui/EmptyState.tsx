import type { ReactNode } from "react";
import { CodeBlock } from "./CodeBlock";
import { Prose } from "./Prose";
import classes from "./EmptyState.module.css";

interface Props {
  title: string;
  text?: ReactNode;
  /** A command or a document that would fill it. */
  code?: string;
  action?: ReactNode;
  /** The page has nothing else, so the title is its heading. */
  page?: boolean;
}

/** Nothing here yet: says why, and how to change that. */
export function EmptyState({ title, text, code, action, page }: Props) {
  const Title = page ? "h1" : "p";
  return (
    <div className={classes.empty}>
      <svg width="64" height="40" viewBox="0 0 64 40" aria-hidden>
        <path d="M6 22 22 4l10 12 6-6 20 12z" fill="var(--accent-soft)" stroke="var(--accent)" strokeWidth="1.3" />
        <path d="M4 26h56M12 31h40M22 36h20" stroke="var(--accent)" strokeWidth="1.3" strokeLinecap="round" opacity="0.55" />
      </svg>
      <Title className={classes.title}>{title}</Title>
      {text && <p className={classes.text}>{typeof text === "string" ? <Prose text={text} /> : text}</p>}
      {code && <CodeBlock code={code} />}
      {action}
    </div>
  );
}
