// Measures what a browser loads: the first page at most 300 kB, any route with all it may load at most 700 kB (gzip).
import { existsSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const FIRST_MAX = 300_000;
const ROUTE_MAX = 700_000;
const DIST = new URL("../dist/", import.meta.url);
const manifestFile = new URL(".vite/manifest.json", DIST);
if (!existsSync(manifestFile)) {
  process.stderr.write("no build found: run `npm run build` first\n");
  process.exit(1);
}
const manifest = JSON.parse(readFileSync(manifestFile, "utf8"));
const sizes = new Map();
const sizeOf = (file) => {
  if (!sizes.has(file)) sizes.set(file, gzipSync(readFileSync(new URL(file, DIST))).length);
  return sizes.get(file);
};

/** Files of a module and of what it imports; `deep` follows what it may load later, too. */
function filesOf(key, deep, files = new Set(), seen = new Set()) {
  if (seen.has(key)) return files;
  seen.add(key);
  const entry = manifest[key];
  for (const file of [entry.file, ...(entry.css ?? [])]) files.add(file);
  for (const next of entry.imports ?? []) filesOf(next, deep, files, seen);
  if (deep) for (const next of entry.dynamicImports ?? []) filesOf(next, deep, files, seen);
  return files;
}
const total = (files) => [...files].reduce((sum, file) => sum + sizeOf(file), 0);
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;

const shell = filesOf("index.html", false);
for (const file of ["src/i18n/zh-CN.json"]) filesOf(file, false, shell);
const html = gzipSync(readFileSync(new URL("index.html", DIST))).length;
const overview = "src/features/overview/pages/OverviewPage.tsx";
const first = total(filesOf(overview, false, new Set(shell))) + html;
let failed = first > FIRST_MAX;
process.stdout.write(`${failed ? "too large" : "ok       "}  first load  ${kB(first)} of ${kB(FIRST_MAX)}\n`);

for (const key of Object.keys(manifest).filter((one) => one.includes("/pages/") && manifest[one].isDynamicEntry)) {
  const size = total(filesOf(key, true, new Set(shell))) + html;
  const tooLarge = size > ROUTE_MAX;
  failed ||= tooLarge;
  process.stdout.write(`${tooLarge ? "too large" : "ok       "}  ${key.replace(/^src\/features\//, "")}  ${kB(size)}\n`);
}
process.exit(failed ? 1 : 0);
