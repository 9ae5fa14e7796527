import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { configOf, NAME_PATTERN, sourceDocument } from "./document";

describe("the document of a source", () => {
  it("reads back as it was written, whatever the texts hold", () => {
    const config = { url: "postgres://a:b@c/d?x=1#y", tables: ["*", "yes", "- no"], password: { secret: "p" }, note: "one\ntwo: three" };
    expect(parse(sourceDocument("shop", "postgres_cdc", config))).toEqual({ kind: "source", name: "shop", spec: { type: "postgres_cdc", ...config } });
  });

  it("takes the settings of an example without its type", () => {
    expect(configOf("type: replay\nspeed: 3600\n")).toEqual({ speed: 3600 });
    expect(configOf("")).toEqual({});
  });

  it("knows which names can be part of a topic", () => {
    expect(NAME_PATTERN.test("shop_2")).toBe(true);
    for (const name of ["", "2shop", "Shop", "a.b", "a-b", "x".repeat(64)]) expect(NAME_PATTERN.test(name), name).toBe(false);
  });
});
