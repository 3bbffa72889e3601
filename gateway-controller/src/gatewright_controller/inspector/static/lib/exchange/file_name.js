/** What the file of an exchange is called, as `gatewright record` names it. */

const LONGEST_PATH = 40;
const ID_LENGTH = 8;

/**
 * By when, what and which: 20261126T171051.123456Z-GET-orders-7-5f1c2d3e.exchange.json
 *
 * @param {import("./recorded.js").Exchange} exchange
 */
export function fileName({ startedAt, request, id }) {
  const when = startedAt.replace(/[^0-9TZ.]/g, "");
  const words = dashed(`${request.method ?? ""}-${request.path ?? ""}`).slice(0, LONGEST_PATH);
  const which = id.replace(/[^A-Za-z0-9]+/g, "").slice(0, ID_LENGTH);
  return `${[when, trimmed(words), which].filter(Boolean).join("-") || "exchange"}.exchange.json`;
}

/** @param {string} text */
function dashed(text) {
  return trimmed(text.replace(/[^A-Za-z0-9]+/g, "-"));
}

/** @param {string} text */
function trimmed(text) {
  return text.replace(/^-+|-+$/g, "");
}
