/** The changes of a policy, as removed and added lines. */

import { diffLines, hunks } from "../text_diff.js";

/**
 * @typedef {import("./recorded.js").Body} Body
 * @typedef {import("./recorded.js").Change} Change
 * @typedef {import("./recorded.js").Message} Message
 * @typedef {import("../text_diff.js").Line} Line
 * @typedef {import("../text_diff.js").Skipped} Skipped
 */

const VALUES = new Set(["header", "trailer"]);
const STORED = new Set(["metadata", "analytics"]);
const REST = "… (the rest was not recorded)";

/** The name of what changed. @param {Change} change */
export function heading(change) {
  if (change.what === "body") {
    const sizes = [change.before, change.after].filter((side) => side !== undefined).map((side) => asBody(side).size);
    return `body, ${sizes.join(" → ")} bytes`;
  }
  if (change.what === "answer") {
    const statuses = [change.before, change.after].filter(Boolean).map((side) => asMessage(side).status ?? 0);
    return `answer ${[...new Set(statuses)].join(" → ")}`;
  }
  return change.name ? `${change.what} ${change.name}` : change.what;
}

/** @param {Change} change @returns {(Line | Skipped)[]} */
export function lines(change) {
  if (change.what === "body") return hunks(diffLines(...bodyLines(change.before, change.after)));
  if (change.what === "answer") return hunks(diffLines(...messages(change)));
  return [...sided("-", change, change.before), ...sided("+", change, change.after)];
}

/** @param {"-" | "+"} sign @param {Change} change @param {unknown} value @returns {Line[]} */
function sided(sign, change, value) {
  return valueLines(change, value).map((text) => ({ sign, text }));
}

/** A line for each value of a header, one for all else. @param {Change} change @param {unknown} value */
function valueLines({ what }, value) {
  if (value === undefined) return [];
  if (VALUES.has(what) && Array.isArray(value)) return value.map(String);
  return [STORED.has(what) ? JSON.stringify(value) : String(value)];
}

/** The first is empty without an answer before. @param {Change} change @returns {[string[], string[]]} */
function messages({ before, after }) {
  return [before ? messageLines(asMessage(before)) : [], after ? messageLines(asMessage(after)) : []];
}

/** @param {Message} message */
function messageLines({ headers, body }) {
  const shown = headers.map(([name, value]) => `${name}: ${value}`);
  if (!body?.size) return shown;
  return [...shown, ...(shown.length ? [""] : []), ...shownLines(body)];
}

/**
 * Both bodies; as JSON with a member on each line where both are JSON.
 *
 * @param {unknown} before
 * @param {unknown} after
 * @returns {[string[], string[]]}
 */
function bodyLines(before, after) {
  const sides = [before, after].map((side) => (side === undefined ? undefined : asBody(side)));
  const indent = sides.every((body) => !body?.size || indented(body) !== undefined);
  const [left, right] = sides.map((body) => (body ? shownLines(body, indent) : []));
  return [left, right];
}

/**
 * A body as people read it. indent: JSON with a member on each line.
 *
 * @param {Body} body
 * @param {boolean} [indent]
 * @returns {string[]}
 */
export function shownLines(body, indent = true) {
  if (body.text === undefined) {
    const encoded = body.decoded ? ` in ${body.decoded}` : "";
    return body.size ? [`(${body.size} bytes${encoded} that are no text)`] : [];
  }
  if (!body.text && !body.truncated) return [];
  const shown = ((indent ? indented(body) : undefined) ?? body.text).split("\n");
  return body.truncated ? [...shown, REST] : shown;
}

/** The body's JSON, or undefined. @param {Body} body */
function indented({ text, truncated }) {
  if (truncated || !text || !/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return undefined;
  }
}

/** @param {unknown} side */
function asBody(side) {
  return /** @type {Body} */ (side);
}

/** @param {unknown} side @returns {Message} */
function asMessage(side) {
  return { headers: [], .../** @type {Partial<Message> | undefined} */ (side) };
}
