// The management API, as the token that is signed in may use it.

import { token } from "./session.js";

/** @typedef {{field: string, message: string, line?: number}} Mistake */

/** The type of a problem: the controller cannot open its database, and nodes serve their last good state. */
export const NO_DATABASE = "urn:gatewright:problem:no-database";

/** An answer other than success, or none. */
export class Problem extends Error {
  /**
   * @param {number} status of HTTP; 0: there was no answer
   * @param {string} detail for people
   * @param {Mistake[]} [mistakes] the mistakes to fix, where the API names them
   * @param {Headers} [headers]
   * @param {string} [type] of RFC 9457
   */
  constructor(status, detail, mistakes = [], headers = new Headers(), type = "") {
    super(detail);
    this.status = status;
    this.detail = detail;
    this.mistakes = mistakes;
    this.headers = headers;
    this.type = type;
  }
}

/** Sends an event with the status of each answer, 0 without an answer: `app.js` shows what it means for the whole page. */
export const answers = new EventTarget();

/**
 * @param {string} path
 * @param {{signal?: AbortSignal, accept?: string}} [options]
 * @returns {Promise<any>} parsed JSON, or text
 */
export async function get(path, options = {}) {
  return content(await request("GET", path, undefined, options));
}

/**
 * A list with all of its pages.
 * @param {string} path
 * @param {{signal?: AbortSignal}} [options]
 * @returns {Promise<any>} the answer, its array with the items of all pages
 */
export async function getAll(path, options = {}) {
  const { next, ...list } = await get(path, options);
  for (let from = next; from; ) {
    const { next: following, ...page } = await get(from, options);
    for (const name of Object.keys(page)) list[name] = list[name].concat(page[name]);
    from = following;
  }
  return list;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body] JSON, or a string with its `contentType`
 * @param {{signal?: AbortSignal, accept?: string, contentType?: string, headers?: Record<string, string>}} [options]
 * @returns {Promise<any>} parsed JSON, text, or null where the answer is empty
 */
export async function send(method, path, body, options = {}) {
  return content(await request(method, path, body, options));
}

/**
 * The answer itself, for callers that need its headers. Throws `Problem`; what `signal` has aborted throws its reason.
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {{signal?: AbortSignal, accept?: string, contentType?: string, headers?: Record<string, string>}} options
 * @returns {Promise<Response>}
 */
export async function request(method, path, body, options) {
  const headers = new Headers({ accept: options.accept ?? "application/json", ...options.headers });
  if (token()) headers.set("authorization", `Bearer ${token()}`);
  if (body !== undefined) headers.set("content-type", options.contentType ?? "application/json");
  const sent = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, { method, headers, body: sent, signal: options.signal, credentials: "omit" });
  } catch {
    options.signal?.throwIfAborted();
    announce(0);
    throw new Problem(0, "the controller does not answer");
  }
  announce(response.status);
  if (!response.ok) throw await problem(response);
  return response;
}

/** @param {number} status */
function announce(status) {
  answers.dispatchEvent(new CustomEvent("answer", { detail: status }));
}

/** @param {Response} response */
async function content(response) {
  const text = await response.text();
  if (!text) return null;
  return (response.headers.get("content-type") ?? "").includes("json") ? JSON.parse(text) : text;
}

/** @param {Response} response */
async function problem(response) {
  const text = await response.text().catch(() => "");
  try {
    const document = JSON.parse(text);
    return new Problem(response.status, String(document.detail), document.errors ?? [], response.headers, document.type);
  } catch {
    return new Problem(response.status, text || response.statusText, [], response.headers);
  }
}
