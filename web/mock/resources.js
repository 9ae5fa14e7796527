// Plan, apply and roll back of the mock.
import { parseAllDocuments } from "yaml";
import { audit } from "./state.js";
import { sourceTypes } from "./source-types.js";

const KINDS = ["source", "topic", "table"];

function unifiedDiff(name, before, after) {
  const a = before ? before.trim().split("\n") : [];
  const b = after ? after.trim().split("\n") : [];
  const lines = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && a[i] === b[j]) {
      lines.push(` ${a[i]}`);
      i += 1;
      j += 1;
    } else if (i < a.length && !b.slice(j).includes(a[i])) {
      lines.push(`-${a[i]}`);
      i += 1;
    } else {
      lines.push(`+${b[j]}`);
      j += 1;
    }
  }
  return `--- ${before ? name : "/dev/null"}\n+++ ${after ? name : "/dev/null"}\n@@ -1,${a.length} +1,${b.length} @@\n${lines.join("\n")}\n`;
}

function problemsOf(resource) {
  const problems = [];
  if (!KINDS.includes(resource.kind)) {
    problems.push({ severity: "error", message: `unknown kind \`${resource.kind}\``, line: 1, hint: `Use one of ${KINDS.join(", ")}.` });
    return problems;
  }
  if (resource.kind !== "source") return problems;
  const type = sourceTypes.find((one) => one.name === resource.spec?.type);
  if (!type) {
    problems.push({ severity: "error", message: `unknown source type \`${resource.spec?.type}\``, line: 4, hint: `Use one of ${sourceTypes.map((one) => one.name).join(", ")}.` });
    return problems;
  }
  for (const name of type.schema.required ?? []) {
    if (resource.spec[name] === undefined) problems.push({ severity: "error", message: `\`${name}\` is missing`, line: 4, hint: type.schema.properties[name].description });
  }
  return problems;
}

export function plan(state, body) {
  const changes = [];
  for (const document of parseAllDocuments(body.documents ?? "")) {
    if (document.errors.length > 0) {
      const [error] = document.errors;
      const [{ line, col }] = error.linePos ?? [{ line: 1, col: 1 }];
      throw Object.assign(new Error(`the YAML cannot be read: ${error.message.split("\n")[0]}`), { position: { line, column: col } });
    }
    const resource = document.toJS();
    if (!resource) continue;
    const yaml = `${document.toString().replace(/^---\n/, "").trim()}\n`;
    const old = state.resources.find((one) => one.kind === resource.kind && one.name === resource.name);
    const action = !old ? "create" : old.yaml.trim() === yaml.trim() ? "none" : "update";
    changes.push({ action, kind: resource.kind, name: resource.name, diff: action === "none" ? "" : unifiedDiff(`${resource.kind}/${resource.name}`, old?.yaml, yaml), problems: problemsOf(resource), yaml, resource });
  }
  for (const { kind, name } of body.delete ?? []) {
    const old = state.resources.find((one) => one.kind === kind && one.name === name);
    if (old) changes.push({ action: "delete", kind, name, diff: unifiedDiff(`${kind}/${name}`, old.yaml, ""), problems: [] });
  }
  const ok = changes.every((change) => change.problems.every((problem) => problem.severity !== "error"));
  return { base_revision: state.revisions[0]?.revision ?? 0, changes, ok };
}

export const publicPlan = ({ base_revision, changes, ok }) => ({ base_revision, ok, changes: changes.map(({ yaml: _yaml, resource: _resource, ...change }) => change) });

export function apply(state, body) {
  const planned = plan(state, body);
  const revision = planned.base_revision + 1;
  const at = new Date().toISOString();
  for (const change of planned.changes) {
    if (change.action === "none") continue;
    state.resources = state.resources.filter((one) => one.kind !== change.kind || one.name !== change.name);
    if (change.action === "delete") {
      if (change.kind === "source") state.sources.delete(change.name);
    } else {
      state.resources.push({ kind: change.kind, name: change.name, revision, updated_at: at, author: "local", state: "active", message: null, yaml: change.yaml });
      if (change.kind === "source") addSource(state, change.resource);
    }
    audit(state, `resource.${change.action}`, `${change.kind}/${change.name}`);
  }
  const changes = publicPlan(planned).changes;
  state.revisions.unshift({ revision, at, author: "local", message: body.message ?? null, changes, snapshot: structuredClone(state.resources) });
  for (const send of state.listeners) send("changed", { kind: "resource", name: "" });
  return { revision, changes };
}

function addSource(state, { name, spec }) {
  const old = state.sources.get(name);
  const at = new Date().toISOString();
  const title = sourceTypes.find((one) => one.name === spec.type)?.title ?? spec.type;
  state.sources.set(name, { restarts: 0, dead_letters: 0, tables: [], history: [], hint: null, ...old, name, type: spec.type, title, spec, state: old?.state ?? "starting", state_since: at, message: old?.message ?? null });
  state.sources.get(name).history.push({ at, state: "starting", message: "applied" });
}

export function rollback(state, revision) {
  const target = state.revisions.find((one) => one.revision === revision);
  if (!target) return undefined;
  const documents = target.snapshot.map((one) => one.yaml).join("---\n");
  const kept = new Set(target.snapshot.map((one) => `${one.kind}/${one.name}`));
  const gone = state.resources.filter((one) => !kept.has(`${one.kind}/${one.name}`));
  return apply(state, { documents, delete: gone.map(({ kind, name }) => ({ kind, name })), message: `Roll back to revision ${revision}` });
}
