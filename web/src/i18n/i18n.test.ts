import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fill } from ".";
import en from "./en.json";
import zh from "./zh-CN.json";

const words = (text: string) => [...text.matchAll(/\{(\w+)[,}]/g)].map((match) => match[1]).sort();

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.tsx?$/.test(entry.name) && !entry.name.includes(".test.") ? [readFileSync(path, "utf8")] : [];
  });
}

describe("the dictionaries", () => {
  it("have the same keys", () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  });

  it("take the same parameters", () => {
    for (const [key, text] of Object.entries(en)) {
      expect(words(zh[key as keyof typeof zh]), key).toEqual(words(text));
    }
  });

  it("say everything in Chinese but names", () => {
    const same = Object.entries(zh).filter(([, text]) => !/[\u4e00-\u9fff]/.test(text));
    expect(same.map(([key]) => key).sort()).toEqual(["nav.api", "nav.sql", "source.category.http"]);
  });

  it("hold no key that nothing says", () => {
    const code = sources(join(process.cwd(), "src")).join("\n");
    const made = [...code.matchAll(/`([a-z_.]+\.)\$\{/g)].map((match) => match[1] ?? "");
    const unused = Object.keys(en).filter((key) => !code.includes(`"${key}"`) && !made.some((prefix) => key.startsWith(prefix)));
    expect(unused).toEqual([]);
  });
});

describe("fill", () => {
  it("puts parameters in, numbers as the language writes them", () => {
    expect(fill("{name} has {count}", { name: "flights", count: 336776 }, "en")).toBe("flights has 336,776");
  });

  it("chooses the plural", () => {
    const text = "{count, plural, one {# row} other {# rows}}";
    expect(fill(text, { count: 1 }, "en")).toBe("1 row");
    expect(fill(text, { count: 2000 }, "en")).toBe("2,000 rows");
  });

  it("leaves what it does not know", () => {
    expect(fill("resources/{kind}", {}, "en")).toBe("resources/{kind}");
  });
});
