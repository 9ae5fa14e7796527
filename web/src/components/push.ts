/** What a terminal needs to be let in, where the server asks who it is. */
const AUTHORIZED = ` \\\n  -H "Authorization: Bearer $TARN_KEY"`;

/** A command that sends a row to a source that takes pushes. */
export function pushCommand(origin: string, source: string, signedIn: boolean): string {
  return `curl ${origin}/api/v1/ingest/${encodeURIComponent(source)}/push${signedIn ? AUTHORIZED : ""} \\\n  -d '{"id": 1, "note": "hello"}'`;
}

/** A command that declares a source that takes pushes. */
export function applySourceCommand(origin: string, source: string, signedIn: boolean): string {
  const documents = `{kind: source, name: ${source}, spec: {type: http_push}}`;
  return `curl ${origin}/api/v1/resource/apply${signedIn ? AUTHORIZED : ""} \\\n  -H "content-type: application/json" \\\n  -d '${JSON.stringify({ documents })}'`;
}
