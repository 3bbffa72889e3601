// A unified diff, as the controller makes it, in lines that are added, removed and the same.

import { el } from "./dom.js";

const KINDS = /** @type {Record<string, string>} */ ({ "+": "added", "-": "removed", " ": "same" });

/**
 * @param {string} diff unified; not ""
 * @param {string} label
 */
export function diffView(diff, label) {
  const lines = bodyOf(diff).map((line) =>
    line.startsWith("@@")
      ? el("li", { class: "hunk" }, place(line))
      : el("li", { class: KINDS[line[0]] ?? "same" }, line.slice(1)),
  );
  return el("ol", { class: "diff", tabindex: 0, "aria-label": label }, lines);
}

/**
 * @param {string} diff
 * @returns {{added: number, removed: number}} lines
 */
export function countOf(diff) {
  const signs = bodyOf(diff).map((line) => line[0]);
  return { added: signs.filter((sign) => sign === "+").length, removed: signs.filter((sign) => sign === "-").length };
}

/** @param {string} diff */
function bodyOf(diff) {
  return diff.split("\n").slice(2).filter(Boolean);
}

/** @param {string} hunk "@@ -3,7 +3,9 @@" */
function place(hunk) {
  const start = /\+(\d+)/.exec(hunk);
  return start ? `from line ${start[1]}` : hunk;
}
