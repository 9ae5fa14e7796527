import { expect, it } from "vitest";
import { blocksOf } from "./Markdown";

it("splits headings, paragraphs, lists with continued items, and code", () => {
  const text = "## Setting up\n\n1. Set `wal_level`\nand restart.\n2. Create a role.\n\nThen check.\nIt says more.\n\n```sql\nSELECT 1\n```";
  expect(blocksOf(text)).toEqual([
    { kind: "heading", lines: ["Setting up"] },
    { kind: "numbers", lines: ["Set `wal_level` and restart.", "Create a role."] },
    { kind: "text", lines: ["Then check. It says more."] },
    { kind: "code", lines: ["SELECT 1"] },
  ]);
});
