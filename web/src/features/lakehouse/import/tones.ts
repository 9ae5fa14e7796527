import type { Import } from "~/api/imports";
import type { Tone } from "~/ui/StateBadge";

export const IMPORT_TONES: Record<Import["state"], Tone> = { running: "info", verifying: "info", done: "ok", failed: "bad", cancelled: "quiet" };
