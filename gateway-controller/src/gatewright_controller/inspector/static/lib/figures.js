// Figures and troubles, as the pages of overview, policies and nodes show them.

import { notice } from "./components.js";
import { el } from "./dom.js";
import { duration, number } from "./format.js";
import { samples, total } from "./metrics.js";

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {import("./troubles.js").Trouble} Trouble */

/**
 * @param {[string, Child, Child?][]} pairs name, value in large, and what it means in small
 */
export function figures(pairs) {
  return el("dl", { class: "figures" }, pairs.map(([name, value, more]) =>
    el("div", null, el("dt", null, name), el("dd", null, value, more ? el("small", null, more) : null)),
  ));
}

/**
 * @param {Trouble[]} all
 * @param {string} [none] the text without troubles
 */
export function troubleList(all, none = "Nothing needs attention.") {
  if (!all.length) return notice("good", el("p", null, none));
  return el("ul", { class: "troubles" }, all.map(({ kind, title, meaning, cure, to, party }) =>
    el("li", null, el(
      "div", { class: `notice ${kind}` },
      el("h3", null, to ? el("a", { href: to }, title) : title),
      el("p", null, meaning), el("p", null, cure), party ? el("p", { class: "quiet" }, `Responsible: the ${party}.`) : null,
    )),
  ));
}

/** @param {number} value of a second */
export function rate(value) {
  const digits = value >= 100 || value === 0 ? 0 : value >= 1 ? 1 : 2;
  return `${number(Number(value.toFixed(digits)))}/s`;
}

/** @param {number | null} ms */
export function durationOrNone(ms) {
  return ms === null ? "–" : duration(ms);
}

/**
 * The sum of a metric; "–" where it is not reported, which is not 0.
 * @param {import("./metrics.js").Metrics | null} metrics
 * @param {string} name
 * @param {(value: number) => string} written
 */
export function totalOrNone(metrics, name, written) {
  return metrics && samples(metrics, name).length ? written(total(metrics, name)) : "–";
}

/** @param {number} part @param {number} whole */
export function share(part, whole) {
  if (!whole) return "–";
  const percent = (part / whole) * 100;
  return `${Number(percent.toFixed(percent && percent < 10 ? 2 : 0))} %`;
}
