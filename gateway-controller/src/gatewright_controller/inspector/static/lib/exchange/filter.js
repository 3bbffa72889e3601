/**
 * A filter of exchanges, as people write it: docs/reference/recordings.md#filters.
 *
 * @typedef {Record<string, string>} Filter  members with a value, by name, as texts
 */

/** In the order in which a form has them. `errors` is "true" or not there. */
export const MEMBERS = ["errors", "api", "operation", "policy", "path", "status", "header", "client", "shadow", "id", "sample"];

/** Of the query of a page's address, or of the API's. @param {URLSearchParams} query @returns {Filter} */
export function fromQuery(query) {
  /** @type {Filter} */
  const filter = {};
  for (const member of MEMBERS) {
    const text = query.getAll(member).join(",").trim();
    if (text && !(member === "errors" && text === "false")) filter[member] = text;
  }
  return filter;
}

/** As parameters of `GET /v1/exchanges`, and of the page's address. @param {Filter} filter @returns {URLSearchParams} */
export function asQuery(filter) {
  const pairs = MEMBERS.filter((member) => filter[member]).map((member) => [member, spaced(member, filter[member])]);
  return new URLSearchParams(pairs);
}

/** As JSON for `POST /v1/recordings`. A value of the wrong form stays a text, which the API refuses. @param {Filter} filter */
export function asDocument(filter) {
  return Object.fromEntries([...asQuery(filter)].map(([member, text]) => [member, value(member, text)]));
}

/** "api orders, errors only, status 5xx"; "all exchanges" for an empty filter. @param {Record<string, unknown>} document */
export function inWords(document) {
  const words = Object.entries(document).map(([member, value]) => word(member, value)).filter(Boolean);
  return words.join(", ") || "all exchanges";
}

/** @param {string} member @param {string} text */
function spaced(member, text) {
  return member === "status" ? text.split(/[\s,]+/).filter(Boolean).join(",") : text;
}

/** @param {string} member @param {string} text @returns {unknown} */
function value(member, text) {
  if (member === "errors") return text === "true" || text;
  if (member === "status") return text.split(",");
  if (member === "sample") return Number.isNaN(Number(text)) ? text : Number(text);
  if (member !== "header") return text;
  const equals = text.indexOf("=");
  return equals < 0 ? { name: text } : { name: text.slice(0, equals), value: text.slice(equals + 1) };
}

/** @param {string} member @param {unknown} wanted */
function word(member, wanted) {
  if (member === "errors") return wanted ? "errors only" : "";
  if (member === "sample") return wanted === 1 ? "" : `a share of ${wanted}`;
  if (member === "header" && wanted && typeof wanted === "object") {
    const { name = "", value = null } = /** @type {{name?: string, value?: string | null}} */ (wanted);
    return value === null ? `header ${name}` : `header ${name}=${value}`;
  }
  const text = Array.isArray(wanted) ? wanted.join(" or ") : wanted;
  return text === null || text === undefined || text === "" ? "" : `${member} ${text}`;
}
