import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { applySourceCommand, pushCommand } from "./push";

/** What a shell hands to `curl`, an argument each. */
const handed = (command: string): string[] =>
  execFileSync("sh", ["-c", `curl() { for word in "$@"; do printf '%s\\0' "$word"; done; }\n${command}`], { env: { TARN_KEY: "tarn_1" }, encoding: "utf8" })
    .split("\0")
    .slice(0, -1);

describe("the commands of the first steps", () => {
  it("push a row that a shell leaves whole", () => {
    const [address, flag, body = ""] = handed(pushCommand("http://127.0.0.1:8080", "inbox", false));
    expect([address, flag]).toEqual(["http://127.0.0.1:8080/api/v1/ingest/inbox/push", "-d"]);
    expect(JSON.parse(body)).toEqual({ id: 1, note: "hello" });
  });

  it("declare the source first where there is none", () => {
    const words = handed(applySourceCommand("http://127.0.0.1:8080", "inbox", false));
    expect(words[0]).toBe("http://127.0.0.1:8080/api/v1/resource/apply");
    expect(JSON.parse(words.at(-1) ?? "")).toEqual({ documents: "{kind: source, name: inbox, spec: {type: http_push}}" });
  });

  it("bring a key where the server asks for one", () => {
    expect(handed(pushCommand("http://h", "a", true))).toContain("Authorization: Bearer tarn_1");
    expect(handed(applySourceCommand("http://h", "a", true))).toContain("Authorization: Bearer tarn_1");
  });
});
