/**
 * Which exchanges are meant, as people write it: docs/reference/recordings.md#filters.
 *
 * @typedef {Record<string, string>} Filter  the members that say something, by name, as texts
 */

/** In the order in which a form has them. `errors` is "true" or not there. */
export const MEMBERS = ["errors", "api", "operation", "policy", "path", "status", "header", "client", "shadow", "id", "sample"];

/** Of the query of a page's address, or of the API's. @param {URLSearchParams} query @returns {Filter} */
export function fromQuery(query) {
  /** @type {Filter} */
  const found = {};
  for (const member of MEMBERS) {
    const text = query.getAll(member).join(",").trim();
    if (text && !(member === "errors" && text === "false")) found[member] = text;
  }
  return found;
}

/** As parameters of `GET /v1/exchanges`, and of the page's address. @param {Filter} filter @returns {URLSearchParams} */
export function asQuery(filter) {
  const pairs = MEMBERS.filter((member) => filter[member]).map((member) => [member, spaced(member, filter[member])]);
  return new URLSearchParams(pairs);
}

/** As JSON for `POST /v1/recordings`. What does not fit stays a text, which the API refuses. @param {Filter} filter */
export function asDocument(filter) {
  return Object.fromEntries([...asQuery(filter)].map(([member, text]) => [member, value(member, text)]));
}

/** "api orders, errors only, status 5xx"; "all" where nothing is asked for. @param {Record<string, unknown>} document */
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

/** @param {string} member @param {unknown} given */
function word(member, given) {
  if (member === "errors") return given ? "errors only" : "";
  if (member === "sample") return given === 1 ? "" : `a share of ${given}`;
  if (member === "header" && given && typeof given === "object") {
    const { name = "", value = null } = /** @type {{name?: string, value?: string | null}} */ (given);
    return value === null ? `header ${name}` : `header ${name}=${value}`;
  }
  const text = Array.isArray(given) ? given.join(" or ") : given;
  return text === null || text === undefined || text === "" ? "" : `${member} ${text}`;
}
