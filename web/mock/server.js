// A server that answers like Tarn, with the flights of the demo moving, and hands out the built console.
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { Refusal, routeOf } from "./api.js";
import { newState, tick } from "./state.js";
import { overview } from "./views.js";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json" };
// The policy that the server is meant to send; the console has to work under it.
const POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

// As much of the description as the console reads: what imports can do.
const OPENAPI = { components: { schemas: { ImportRequest: { properties: { format: { description: "`csv`, `json`, `parquet`, `avro`, `orc`, `excel`, `delta` or `iceberg`" }, mode: { description: "`create`, `append`, `replace` or `register`" } } } } } };

async function bodyOf(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  // What is uploaded is no document; the mock only counts that it came.
  if (request.headers["content-type"] === "application/octet-stream") return {};
  return text ? JSON.parse(text) : {};
}

function reply(response, status, body) {
  if (body === undefined) return response.writeHead(204).end();
  if (body.type && body.text !== undefined) return response.writeHead(200, { "content-type": body.type }).end(body.text);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function events(state, request, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  const send = (event, body) => response.write(`event: ${event}\ndata: ${JSON.stringify(body)}\n\n`);
  state.listeners.add(send);
  send("overview", overview(state));
  const timer = setInterval(() => send("overview", overview(state)), 1000);
  request.on("close", () => {
    clearInterval(timer);
    state.listeners.delete(send);
  });
}

function session(state, user) {
  const known = state.users.find((one) => one.name === user);
  const needed = state.users.length > 0;
  return { user: known?.name ?? null, role: needed ? (known?.role ?? null) : "admin", tenant: "default", authentication_required: needed, version: "0.1.0", project: "flights-demo", read_only: false, demo: true };
}

function file(response, path) {
  const wanted = join(DIST, normalize(path));
  const found = path !== "/" && wanted.startsWith(DIST) && existsSync(wanted) ? wanted : join(DIST, "index.html");
  if (!existsSync(found)) return response.writeHead(404).end("run `npm run build` first");
  response.writeHead(200, { "content-type": TYPES[extname(found)] ?? "application/octet-stream", "content-security-policy": POLICY, "cache-control": path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache" });
  createReadStream(found).pipe(response);
}

async function api(state, request, response, path, search) {
  const user = /tarn_session=([\w-]+)/.exec(request.headers.cookie ?? "")?.[1];
  const who = session(state, user);
  if (path === "/session") {
    if (request.method === "GET") return reply(response, 200, who);
    if (request.method === "DELETE") return response.writeHead(204, { "set-cookie": "tarn_session=; Max-Age=0; Path=/" }).end();
    const { user: name, password } = await bodyOf(request);
    if (!state.users.some((one) => one.name === name && one.password === password)) throw new Refusal(401, "denied", "user or password is wrong");
    return response.writeHead(204, { "set-cookie": `tarn_session=${name}; Path=/; HttpOnly; SameSite=Strict` }).end();
  }
  if (who.authentication_required && !who.user) throw new Refusal(401, "denied", "sign in first");
  if (path === "/events") return events(state, request, response);
  const route = routeOf(request.method, path);
  if (!route) throw new Refusal(404, "not_found", `no route for ${request.method} ${path}`);
  const body = request.method === "GET" || request.method === "DELETE" ? undefined : await bodyOf(request);
  const answer = await route.handler({ state, body, search, principal: who.user ?? "local", ...route.values });
  reply(response, 200, answer);
}

/** Starts on a port (0 for any free one); gives the address and a way to stop. */
export async function start(port = 0, world = "demo") {
  const state = newState(world);
  tick(state);
  const timer = setInterval(() => tick(state), 1000);
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://localhost");
    if (pathname === "/metrics") return response.writeHead(200, { "content-type": "text/plain" }).end(`tarn_ingest_rows_total ${overview(state).rows_total}\n`);
    if (pathname === "/openapi.json") return reply(response, 200, OPENAPI);
    const isCatalog = pathname.startsWith("/iceberg/");
    if (!isCatalog && !pathname.startsWith("/api/v1/")) return file(response, pathname);
    api(state, request, response, isCatalog ? pathname : pathname.slice(7), searchParams).catch((error) => {
      if (error instanceof Refusal) return reply(response, error.status, error.body);
      reply(response, 400, { error: { kind: "invalid", message: error.message, ...(error.position ? { position: error.position } : {}) } });
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => {
      clearInterval(timer);
      server.closeAllConnections();
      server.close();
    },
  };
}
