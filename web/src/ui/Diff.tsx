import classes from "./Diff.module.css";

const toneOf = (line: string) => {
  if (line.startsWith("+++") || line.startsWith("---") || line.startsWith("@@")) return "place";
  if (line.startsWith("+")) return "added";
  if (line.startsWith("-")) return "removed";
  return "same";
};

/** A unified diff. */
export function Diff({ text, label }: { text: string; label: string }) {
  return (
    <pre className={classes.diff} tabIndex={0} aria-label={label}>
      {text
        .replace(/\n$/, "")
        .split("\n")
        .map((line, index) => (
          <span key={index} data-tone={toneOf(line)}>
            {line || " "}
          </span>
        ))}
    </pre>
  );
}
