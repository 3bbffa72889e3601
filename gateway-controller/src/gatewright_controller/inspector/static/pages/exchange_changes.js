// What one policy did: its changes as a diff, and why it failed.

import { el, replace } from "../lib/dom.js";
import { heading, lines } from "../lib/exchange/changes.js";
import { REDACTED } from "../lib/exchange/recorded.js";
import { comparison } from "../lib/exchange/verdict.js";
import { bytes, number } from "../lib/format.js";
import { href } from "../lib/router.js";
import { cut, visible } from "../lib/visible_text.js";

/**
 * @typedef {import("../lib/exchange/recorded.js").Change} Change
 * @typedef {import("../lib/exchange/recorded.js").Exchange} Exchange
 * @typedef {import("../lib/exchange/recorded.js").Execution} Execution
 * @typedef {import("../lib/exchange/recorded.js").Failure} Failure
 * @typedef {import("../lib/text_diff.js").Line} Line
 * @typedef {import("../lib/text_diff.js").Skipped} Skipped
 * @typedef {import("../lib/dom.js").Child} Child
 */

const MOST_LINES = 200;
const LONGEST_LINE = 20_000;
const CLASSES = { "+": "added", "-": "removed", " ": "same" };

/** @param {Exchange} exchange @param {Execution} execution @returns {Child[]} */
export function executionDetails(exchange, execution) {
  const { policy, failure, stream, changes = [], shadow, reason } = execution;
  const [name, version] = policy.split(":");
  const compared = comparison(exchange, execution);
  return [
    shadow ? el("p", null, "In shadow: none of these changes was applied", compared ? `; ${visible(compared)}` : "", ".") : null,
    reason ? el("p", null, "Skipped: ", el("bdi", null, visible(reason))) : null,
    failure ? failureOf(failure) : null,
    stream ? el("p", null, `The body as a stream: ${bytes(stream.bytesIn)} in, ${bytes(stream.bytesOut)} out.`) : null,
    changes.map(changeOf),
    changes.length || failure || stream || reason ? null : el("p", null, "It changed nothing."),
    version ? el("p", null, el("a", { href: href(["policies", name, version]) }, `About ${policy}`)) : null,
  ];
}

/** @param {Failure} failure */
function failureOf(failure) {
  const place = failure.file ? `${failure.file}:${failure.line ?? 0}` : "";
  return el(
    "div", { class: "notice bad failure" },
    el("p", null, el("strong", null, failure.class), ": ", text(failure.message)),
    place ? el("p", null, "Raised at ", el("code", { class: "place" }, visible(place))) : null,
  );
}

/** A message with its line breaks. @param {string} message */
function text(message) {
  return el("bdi", { class: "lines" }, cut(message, LONGEST_LINE).split("\n").map(visible).join("\n"));
}

/** @param {Change} change */
function changeOf(change) {
  const diff = lines(change);
  const list = el("ul", { class: "diff" });
  const rest = diff.length - MOST_LINES;
  replace(list, diff.slice(0, MOST_LINES).map(lineOf));
  const all = el("button", { type: "button" }, `Show ${number(rest)} more lines`);
  all.addEventListener("click", () => {
    replace(list, diff.map(lineOf));
    all.remove();
  });
  return el("div", { class: "change" }, el("h4", null, visible(heading(change))), list, rest > 0 ? all : null);
}

/** @param {Line | Skipped} line */
function lineOf(line) {
  if ("skipped" in line) return el("li", { class: "same quiet" }, `… ${number(line.skipped)} unchanged`);
  return el("li", { class: CLASSES[line.sign] }, el("bdi", null, marked(line.text)));
}

/**
 * Text of clients and policies, with a mark for each redacted value.
 *
 * @param {string} written
 * @returns {Child}
 */
export function marked(written) {
  const parts = cut(written, LONGEST_LINE).split(REDACTED).map(visible);
  return parts.flatMap((part, index) => (index ? [el("mark", { class: "redacted" }, REDACTED), part] : [part]));
}
