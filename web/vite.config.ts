import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The API that the development server talks to; `npm run dev` starts the mock and sets it.
const server = process.env.TARN_URL ?? "http://127.0.0.1:4180";

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "~": fileURLToPath(new URL("./src", import.meta.url)) } },
  server: {
    host: "127.0.0.1",
    proxy: Object.fromEntries(
      ["/api", "/iceberg", "/metrics", "/healthz", "/openapi.json"].map((path) => [path, { target: server, changeOrigin: true }]),
    ),
  },
  build: {
    target: "es2022",
    manifest: true,
    chunkSizeWarningLimit: 900,
    // Nothing is fetched as a data address, so the server can send a strict content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: { environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"], setupFiles: ["src/test-setup.ts"], testTimeout: 30_000 },
});
