import type { ErrorBody, FaultKind, Position } from "./types";

const BASE = "/api/v1";

/** What the server said went wrong, or that it could not be reached. */
export class ApiError extends Error {
  readonly kind: FaultKind;
  readonly status: number;
  readonly hint: string | undefined;
  readonly position: Position | undefined;

  constructor(status: number, body: ErrorBody["error"]) {
    super(body.message);
    this.name = "ApiError";
    this.status = status;
    this.kind = body.kind;
    this.hint = body.hint;
    this.position = body.position;
  }
}

function kindOf(status: number): FaultKind {
  if (status === 401 || status === 403) return "denied";
  if (status === 404) return "not_found";
  if (status === 409) return "conflict";
  if (status === 413 || status === 429) return "exhausted";
  if (status === 502 || status === 503 || status === 504) return "unavailable";
  return status >= 500 ? "internal" : "invalid";
}

/** Reads the error of an answer. A proxy may answer without our body, so the status alone must do. */
export async function errorOf(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text) as ErrorBody;
    // The Iceberg protocol names no kind; its status has one.
    if (body.error?.message) return new ApiError(response.status, { ...body.error, kind: body.error.kind ?? kindOf(response.status) });
  } catch {
    // Not ours; fall through to the status.
  }
  return new ApiError(response.status, {
    kind: kindOf(response.status),
    message: `${response.status} ${response.statusText}`.trim(),
  });
}

/** Called when the server says that the session has ended. */
let onSignedOut: () => void = () => undefined;
export function setSignedOutHandler(handler: () => void): void {
  onSignedOut = handler;
}

export interface RequestOptions {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  body?: unknown;
  signal?: AbortSignal | undefined;
  /** Where the path begins, if not at the API of Tarn. */
  base?: string;
}

/** Sends a request and gives the answer as it is; throws `ApiError` for anything but success. */
export async function send(path: string, options: RequestOptions = {}): Promise<Response> {
  const { method = "GET", body, signal, base = BASE } = options;
  const init: RequestInit = { method, credentials: "same-origin", headers: { accept: "application/json" } };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { accept: "application/json", "content-type": "application/json" };
  }
  let response: Response;
  try {
    response = await fetch(base + path, init);
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new ApiError(0, { kind: "unavailable", message: "" });
  }
  if (!response.ok) {
    const error = await errorOf(response);
    if (response.status === 401 && path !== "/session") onSignedOut();
    throw error;
  }
  return response;
}

/** Sends a request and reads the JSON answer. */
export async function request<T>(path: string, options?: RequestOptions): Promise<T> {
  const response = await send(path, options);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}
