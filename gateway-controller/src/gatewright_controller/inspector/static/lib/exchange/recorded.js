/**
 * A recorded exchange, as docs/reference/recordings.md has it: members that would be empty are absent.
 *
 * @typedef {[name: string, value: string]} Field
 * @typedef {{size: number, text?: string, base64?: string, truncated?: boolean, decoded?: string}} Body
 * @typedef {{
 *   atMs?: number, endMs?: number, method?: string, scheme?: string, authority?: string, path?: string, query?: string,
 *   upstream?: string, status?: number, headers: Field[], trailers?: Field[], body?: Body,
 * }} Message
 * @typedef {{class: string, message: string, file?: string, line?: number}} Failure
 * @typedef {{what: string, name?: string, before?: unknown, after?: unknown}} Change
 * @typedef {"request" | "response" | "request_stream" | "response_stream"} Phase
 * @typedef {{
 *   index: number, policy: string, phase: Phase, startedMs: number, durationMs: number, workMs?: number, chunksMs?: number,
 *   outcome: string, failure?: Failure, changes?: Change[], stream?: {bytesIn: number, bytesOut: number},
 *   shadow?: boolean, comparison?: string, comparedWith?: number, reason?: string,
 * }} Execution  comparison: of a shadow attachment, "same" or "different", with the policy at comparedWith or no change
 * @typedef {{
 *   party: string, code: string, reason: string, cure?: string, flags?: string, upstream?: string, transport?: string,
 * }} Cause  why Envoy has answered by itself; party: whose fault it is, "client", "upstream" or "gateway"
 * @typedef {{
 *   version: number, id: string, node: string, startedAt: string, durationMs: number, api?: string,
 *   apiVersion?: string, context?: string, operation?: string, chain?: string, policies?: string[],
 *   traceId?: string, client?: {address?: string, peer?: Record<string, unknown>}, request: Message,
 *   forwarded?: Message, upstreamResponse?: Message, response?: Message, answeredBy?: string, details?: string,
 *   cause?: Cause, outcome: string, error?: string, metadata?: Record<string, unknown>, analytics?: Record<string, unknown>,
 *   executions: Execution[], redacted: number,
 * }} Exchange
 */

export const VERSION = 1;
export const ANSWERED = "answered";
export const FAILED = "failed";
export const CONTINUED = "continued";
export const CANCELLED = "cancelled";
export const REDACTED = "[redacted]";

/**
 * @param {unknown} value  parsed JSON
 * @returns {Exchange}
 * @throws {Error} where it is no recorded exchange, or of another version; its message is for people
 */
export function read(value) {
  if (typeof value !== "object" || value === null || !("id" in value && "version" in value)) {
    throw new Error("expected a recorded exchange, got something else; reload the page: the controller may be a newer one");
  }
  if (value.version !== VERSION) {
    const cure = "reload the page: the controller may be a newer one";
    throw new Error(`expected a recording of version ${VERSION}, got ${value.version}; ${cure}`);
  }
  const absent = { request: { headers: [] }, executions: [], redacted: 0 };
  return /** @type {Exchange} */ (/** @type {unknown} */ ({ ...absent, ...value }));
}

/** What was asked for: the path with its query. @param {Exchange} exchange */
export function target({ request }) {
  return (request.path ?? "") + (request.query ? `?${request.query}` : "");
}

/** request_stream → request stream. @param {Execution} execution */
export function phaseOf({ phase }) {
  return phase.replaceAll("_", " ");
}

/** @param {Phase} phase */
export function isOfRequest(phase) {
  return phase.startsWith("request");
}
