import { Button } from "@mantine/core";
import { AppLink } from "~/components/AppLink";
import { CodeBlock } from "~/ui/CodeBlock";
import classes from "./Overview.module.css";

export interface Thing {
  title: string;
  text: string;
  /** What the button says. */
  verb: string;
  href: string;
  /** A command for a terminal that does it. */
  code?: string;
}

/** Things to do, side by side, each with a button that does it or leads there. */
export function Things({ things }: { things: Thing[] }) {
  return (
    <div className={classes.three}>
      {things.map((thing, index) => (
        <div key={thing.title} className={classes.thing}>
          <h3>
            <span>{index + 1}</span>
            {thing.title}
          </h3>
          <p>{thing.text}</p>
          {thing.code && <CodeBlock code={thing.code} label={thing.title} />}
          <div>
            <Button variant="light" component={AppLink} href={thing.href}>
              {thing.verb}
            </Button>
          </div>
        </div>
      ))}
    </div>
  );
}
