import { Prose } from "./Prose";
import classes from "./Markdown.module.css";

type Block = { kind: "heading" | "text" | "code"; lines: string[] } | { kind: "numbers" | "points"; lines: string[] };

const NUMBER = /^\d+\.\s+/;
const POINT = /^[-*]\s+/;

/** Splits what the documentation of a member may hold: headings, paragraphs, lists and fenced code. */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let fenced = false;
  let open = false;
  for (const line of text.split("\n")) {
    const last = blocks.at(-1);
    if (line.startsWith("```")) {
      fenced = !fenced;
      if (fenced) blocks.push({ kind: "code", lines: [] });
      open = false;
    } else if (fenced) last?.lines.push(line);
    else if (line.trim() === "") open = false;
    else if (line.startsWith("#")) {
      blocks.push({ kind: "heading", lines: [line.replace(/^#+\s*/, "")] });
      open = false;
    } else if (NUMBER.test(line) || POINT.test(line)) {
      const kind = NUMBER.test(line) ? "numbers" : "points";
      const words = line.replace(NUMBER, "").replace(POINT, "");
      if (last?.kind === kind) last.lines.push(words);
      else blocks.push({ kind, lines: [words] });
      open = true;
    } else if (open && last) last.lines.push(`${last.lines.pop() ?? ""} ${line.trim()}`);
    else {
      blocks.push({ kind: "text", lines: [line.trim()] });
      open = true;
    }
  }
  return blocks;
}

/** The documentation of a member of a family, which is written in plain Markdown. */
export function Markdown({ text }: { text: string }) {
  return (
    <div className={classes.text} lang="en">
      {blocksOf(text).map((block, index) => {
        const items = () => block.lines.map((line) => <li key={line}><Prose text={line} /></li>);
        if (block.kind === "heading") return <h3 key={index}><Prose text={block.lines.join(" ")} /></h3>;
        if (block.kind === "code") return <pre key={index} tabIndex={0}>{block.lines.join("\n")}</pre>;
        if (block.kind === "numbers") return <ol key={index}>{items()}</ol>;
        if (block.kind === "points") return <ul key={index}>{items()}</ul>;
        return <p key={index}><Prose text={block.lines.join(" ")} /></p>;
      })}
    </div>
  );
}
