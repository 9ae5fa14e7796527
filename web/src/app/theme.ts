import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from "@mantine/core";

// Tarn: the deep teal of a mountain lake over quiet stone.
const tarn: MantineColorsTuple = [
  "#e8f5f3",
  "#cfe8e5",
  "#a5d5d0",
  "#76c0ba",
  "#4daaa4",
  "#2f948e",
  "#177c77",
  "#0d6764",
  "#0a5553",
  "#074241",
];

const stone: MantineColorsTuple = [
  "#f5f7f7",
  "#ebefee",
  "#dde3e2",
  "#c4cdcc",
  "#9faaa9",
  "#7b8887",
  "#5d6a69",
  "#455150",
  "#2b3535",
  "#182020",
];

const dark: MantineColorsTuple = [
  "#d8e2e1",
  "#bccac8",
  "#93a3a2",
  "#6c7c7b",
  "#3f4e4d",
  "#2b3837",
  "#202b2b",
  "#172121",
  "#111919",
  "#0b1212",
];

const FONTS =
  'Inter, "Segoe UI Variable", "Segoe UI", system-ui, -apple-system, "PingFang SC", "HarmonyOS Sans SC", "Microsoft YaHei", "Noto Sans SC", "Noto Sans CJK SC", "Source Han Sans SC", sans-serif';
const MONO =
  'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace';

export const theme = createTheme({
  primaryColor: "tarn",
  primaryShade: { light: 7, dark: 6 },
  autoContrast: true,
  luminanceThreshold: 0.32,
  colors: { tarn, stone, dark, gray: stone },
  fontFamily: FONTS,
  fontFamilyMonospace: MONO,
  headings: { fontFamily: FONTS, fontWeight: "620" },
  defaultRadius: "md",
  radius: { xs: "3px", sm: "5px", md: "7px", lg: "11px", xl: "18px" },
  fontSizes: { xs: "0.75rem", sm: "0.8375rem", md: "0.9rem", lg: "1.05rem", xl: "1.25rem" },
  focusRing: "auto",
  cursorType: "pointer",
  components: {
    Button: { defaultProps: { size: "xs" } },
    TextInput: { defaultProps: { size: "sm" } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 250 } },
    Modal: { defaultProps: { centered: true, overlayProps: { backgroundOpacity: 0.4, blur: 2 } } },
  },
});

export const cssVariables: CSSVariablesResolver = () => ({
  variables: { "--rail-width": "212px", "--bar-height": "50px" },
  light: {
    "--mantine-color-body": "#f4f7f6",
    "--mantine-color-text": "#16201f",
    "--mantine-color-dimmed": "#566463",
    "--mantine-color-placeholder": "#667473",
    "--surface": "#ffffff",
    "--surface-sunken": "#eef2f1",
    "--line": "#dfe6e5",
    "--line-strong": "#c3cecd",
    "--accent": "#0d6764",
    "--accent-soft": "#e3f2f0",
    "--water-1": "#0d6764",
    "--water-2": "#a5d5d0",
    "--ok": "#1c7a4c",
    "--warn": "#8f5a00",
    "--bad": "#b3261e",
    "--ok-soft": "#e2f3ea",
    "--warn-soft": "#fdf0d9",
    "--bad-soft": "#fce8e6",
    "--info-soft": "#e5eef8",
    "--info": "#225b9c",
    "--mantine-color-error": "#b3261e",
    "--mantine-color-anchor": "#0d6764",
    "--mantine-color-default-border": "#cfd8d7",
  },
  dark: {
    "--mantine-color-body": "#0c1414",
    "--mantine-color-text": "#dce6e5",
    "--mantine-color-dimmed": "#93a5a3",
    "--mantine-color-placeholder": "#8b9c9a",
    "--surface": "#131d1d",
    "--surface-sunken": "#0f1717",
    "--line": "#243130",
    "--line-strong": "#3a4948",
    "--accent": "#62bdb6",
    "--accent-soft": "#143433",
    "--water-1": "#62bdb6",
    "--water-2": "#12504d",
    "--ok": "#5cc48e",
    "--warn": "#e3ae55",
    "--bad": "#f2897f",
    "--ok-soft": "#12301f",
    "--warn-soft": "#352810",
    "--bad-soft": "#3a1a17",
    "--info-soft": "#16283d",
    "--info": "#82b4ea",
    "--mantine-color-error": "#f2897f",
    "--mantine-color-anchor": "#6fc8c1",
    "--mantine-color-default-border": "#324140",
    "--mantine-color-tarn-light": "#163a38",
    "--mantine-color-tarn-light-hover": "#1b4745",
    "--mantine-color-tarn-light-color": "#8fd4ce",
  },
});
