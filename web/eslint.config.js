import hooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

const features = ["overview", "ingest", "eventlog", "lakehouse", "query", "resource", "access"];

/** A feature may import `api`, `ui`, `components` and itself, never another feature. */
const fences = features.map((feature) => ({
  files: [`src/features/${feature}/**/*.{ts,tsx}`],
  rules: {
    "no-restricted-imports": [
      "error",
      { patterns: features.filter((other) => other !== feature).map((other) => `~/features/${other}/*`) },
    ],
  },
}));

export default tseslint.config(
  { ignores: ["dist", "e2e/screenshots"] },
  {
    files: ["src/**/*.{ts,tsx}"],
    extends: [tseslint.configs.recommended],
    plugins: { "react-hooks": hooks },
    rules: {
      "react-hooks/rules-of-hooks": "error",
      "react-hooks/exhaustive-deps": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "max-lines": ["error", { max: 250 }],
      "no-console": "error",
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true, varsIgnorePattern: "^_" }],
    },
  },
  {
    files: ["src/ui/**/*.{ts,tsx}"],
    rules: { "no-restricted-imports": ["error", { patterns: ["@tanstack/react-query", "@tanstack/react-router", "~/api/*", "~/features/*"] }] },
  },
  { files: ["src/api/types.ts", "src/**/*.test.{ts,tsx}"], rules: { "max-lines": "off" } },
  ...fences,
);
