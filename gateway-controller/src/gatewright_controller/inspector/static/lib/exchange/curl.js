/** A request as a command for a shell. */

import { REDACTED, target } from "./recorded.js";
import { isOfTheGateway } from "./sender.js";

/**
 * @typedef {import("./recorded.js").Exchange} Exchange
 * @typedef {{command: string, left: string[]}} Curl  left: what the command does not have, in words
 */

/** Headers that curl writes itself. */
const OF_CURL = /^(host|content-length|connection|transfer-encoding)$/;

/**
 * As the client sent it, without values that redaction has taken out.
 *
 * @param {Exchange} exchange
 * @returns {Curl}
 */
export function curl(exchange) {
  const { method = "GET", scheme = "http", authority = "", headers, body } = exchange.request;
  const sent = headers.filter(([name]) => !name.startsWith(":") && !OF_CURL.test(name) && !isOfTheGateway(name));
  const kept = sent.filter(([, value]) => !value.includes(REDACTED));
  const left = sent.filter((field) => !kept.includes(field)).map(([name]) => `header ${name}, which is redacted`);
  const whole = target(exchange);
  if (whole.includes(REDACTED)) left.push("values of the query, which are redacted");
  const words = ["curl", "-i", "-g", "--path-as-is", ...(method === "GET" && !body?.size ? [] : ["-X", quoted(method)])];
  const parts = [words.join(" "), quoted(`${scheme}://${authority}${whole.replaceAll(REDACTED, "REDACTED")}`)];
  for (const [name, value] of kept) parts.push(`-H ${quoted(value ? `${name}: ${value}` : `${name};`)}`);
  if (body?.size) {
    const reason = whyNotSent(body);
    if (reason) left.push(reason);
    else parts.push(...(headers.some(isType) ? [] : ["-H content-type:"]), `--data-raw ${quoted(body.text ?? "")}`);
  }
  return { command: parts.join(" \\\n  "), left };
}

/** @param {import("./recorded.js").Body} body */
function whyNotSent({ text, truncated, decoded }) {
  if (text === undefined || truncated || decoded) return "the body, which is not recorded as it was sent";
  return text.includes(REDACTED) ? "the body, which has redacted values" : "";
}

/** Without one, curl writes its own. @param {[string, string]} field */
function isType([name]) {
  return name === "content-type";
}

/** One word for a POSIX shell; control characters as escapes, which bash, zsh and ksh know. @param {string} text */
function quoted(text) {
  if (/^[\w./:=@%+,-]+$/.test(text)) return text;
  if (!/[\p{Cc}\p{Cf}]/u.test(text.replaceAll("\n", ""))) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = text.replace(/[\\']/g, "\\$&").replace(/[\p{Cc}\p{Cf}]/gu, inBytes);
  return `$'${escaped}'`;
}

/** @param {string} character */
function inBytes(character) {
  return [...new TextEncoder().encode(character)].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}
