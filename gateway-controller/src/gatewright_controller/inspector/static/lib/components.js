// Elements that several pages share.

import { Problem } from "./api.js";
import { lack } from "./caller.js";
import { el } from "./dom.js";
import { visible } from "./visible_text.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * The page's heading, with what can be done beside it.
 * @param {Child} text
 * @param {...Child} actions
 */
export function heading(text, ...actions) {
  return el("div", { class: "heading" }, el("h1", null, text), el("div", { class: "actions" }, actions));
}

/**
 * A table that scrolls by itself where it is wider than the page.
 * @param {string} caption what it lists; for screen readers alone
 * @param {Child[]} columns
 * @param {Child[][]} rows the first cell of each names it
 */
export function table(caption, columns, rows) {
  const head = el("tr", null, columns.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((cells) =>
    el("tr", null, cells.map((cell, index) => (index ? el("td", null, cell) : el("th", { scope: "row" }, cell)))),
  );
  return el(
    "div",
    { class: "scrolls", tabindex: 0, role: "region", "aria-label": caption },
    el("table", null, el("caption", { class: "unseen" }, caption), el("thead", null, head), el("tbody", null, body)),
  );
}

/** Which colour a state's word has. */
const KINDS = /** @type {Record<string, string>} */ ({
  deployed: "good", ready: "good", observed: "good", completed: "good", ok: "good",
  pending: "busy", connecting: "busy", draining: "busy",
  rejected: "bad", suspended: "bad", failed: "bad", refused: "bad", quarantined: "bad", hung: "bad", down: "bad",
  cancelled: "warn", unobserved: "warn", degraded: "warn",
});

/**
 * A state's word. The word says it; its colour repeats it.
 * @param {string} state
 * @param {string} [kind] good, busy, warn, bad or plain; by the state's word unless given
 */
export function badge(state, kind = KINDS[state] ?? "plain") {
  return el("span", { class: `badge ${kind}` }, state);
}

/**
 * @param {"info" | "good" | "warn" | "bad"} kind
 * @param {...Child} content
 */
export function notice(kind, ...content) {
  return el("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, content);
}

/**
 * An error, with all mistakes to fix.
 * @param {unknown} error
 */
export function problem(error) {
  if (!(error instanceof Problem)) return notice("bad", `The page failed: ${error}`);
  const mistakes = error.mistakes.map(({ field, message, line }) =>
    el("li", null, line ? `line ${line}: ` : null, field ? el("code", null, field) : null, field ? ": " : null, message),
  );
  return notice("bad", el("p", null, sentence(error.detail)), mistakes.length ? el("ul", null, mistakes) : null);
}

/**
 * Stands where a part of a page is not shown, because the caller's role has not the right for it.
 * @param {string} right
 * @returns {Child} null for a caller who has it
 */
export function lackOfRight(right) {
  const why = lack(right);
  return why ? el("p", { class: "quiet" }, visible(why)) : null;
}

/**
 * @param {...Child} content that nothing is there, and what to do
 */
export function empty(...content) {
  return el("p", { class: "empty" }, content);
}

/**
 * Names and values, one pair a line.
 * @param {[Child, Child][]} pairs those with an empty value are left out
 */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return el("dl", { class: "facts" }, shown.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value))));
}

/**
 * Tabs with their panels (ARIA's pattern: arrows, Home and End move).
 * @param {string} label
 * @param {[string, () => Child][]} panels made when they are first shown
 * @returns {HTMLElement}
 */
export function tabs(label, panels) {
  const name = `tabs-${(counter += 1)}`;
  const panel = el("div", { role: "tabpanel", id: `${name}-panel`, tabindex: 0 });
  const made = new Map();
  /** @param {number} index @param {boolean} [focus] */
  const choose = (index, focus) => {
    buttons.forEach((button, at) => {
      button.setAttribute("aria-selected", String(at === index));
      button.tabIndex = at === index ? 0 : -1;
    });
    if (focus) buttons[index].focus();
    if (!made.has(index)) made.set(index, el("div", null, panels[index][1]()));
    panel.setAttribute("aria-labelledby", buttons[index].id);
    panel.replaceChildren(made.get(index));
  };
  const buttons = panels.map(([text], index) =>
    el("button", { type: "button", role: "tab", id: `${name}-${index}`, "aria-controls": `${name}-panel`, onclick: () => choose(index) }, text),
  );
  const list = el("div", { role: "tablist", "aria-label": label, class: "tablist" }, buttons);
  list.addEventListener("keydown", (event) => {
    const current = buttons.findIndex((button) => button.tabIndex === 0);
    const to = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose((to + buttons.length) % buttons.length, true);
  });
  choose(0);
  return el("div", { class: "tabs" }, list, panel);
}

let counter = 0;

/** @param {string} text */
function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
