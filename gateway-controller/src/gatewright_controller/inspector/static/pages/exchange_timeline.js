// An exchange's time as an axis, with a bar for each execution and for the upstream.

import { badge } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { heading } from "../lib/exchange/changes.js";
import { phaseOf } from "../lib/exchange/recorded.js";
import { figure, ticks, timeline, wholeMs } from "../lib/exchange/timeline.js";
import { cut, visible } from "../lib/visible_text.js";
import { executionDetails } from "./exchange_changes.js";

/**
 * @typedef {import("../lib/exchange/recorded.js").Exchange} Exchange
 * @typedef {import("../lib/exchange/recorded.js").Execution} Execution
 * @typedef {import("../lib/exchange/timeline.js").Turn} Turn
 * @typedef {import("../lib/exchange/timeline.js").UpstreamTime} UpstreamTime
 * @typedef {{toggle: (open: boolean) => void, button: HTMLElement}} Opener
 * @typedef {{element: HTMLElement, open: (execution: Execution) => void}} Timeline  open: shows what it did
 */

const COLUMNS = ["Policy", "Phase", "Began", "Took", "Worked", "Waited", "Outcome"];
const FIGURES = new Set(["Began", "Took", "Worked", "Waited"]);
/** @type {Record<string, string>} */
const KINDS = { failed: "bad", continued: "warn", answered: "busy", changed: "good", cancelled: "warn" };
const OPEN = new Set(["failed", "continued", "answered"]);
const MOST_NAMED = 3;

/** @param {Exchange} exchange @returns {Timeline} */
export function timelineOf(exchange) {
  const rows = timeline(exchange);
  const whole = wholeMs(exchange, rows);
  /** @type {Map<Execution, Opener>} */
  const openers = new Map();
  const body = el("tbody", null, rows.map((row, index) => {
    if (!("execution" in row)) return upstreamRow(row, whole);
    const { elements, opener } = turnRows(exchange, row, whole, `turn-${index}`);
    openers.set(row.execution, opener);
    return elements;
  }));
  const head = el(
    "tr", null,
    COLUMNS.map((name) => el("th", { scope: "col", class: classOf(name) }, name, FIGURES.has(name) ? el("span", { class: "quiet" }, " ms") : null)),
    el("th", { scope: "col", class: "time" }, el("span", { class: "unseen" }, "Time"), axis(whole)),
  );
  const caption = el("caption", { class: "unseen" }, `Policies as they were executed, within ${figure(exchange.durationMs)} ms`);
  const table = el("table", null, caption, el("thead", null, head), body);
  const element = el(
    "div", { class: "timeline" }, legend(openers, rows.some((row) => "execution" in row && row.chunksMs !== undefined)),
    el("div", { class: "scrolls", role: "region", "aria-label": "Timeline", tabindex: 0 }, table),
  );
  for (const [{ outcome, shadow = false }, { toggle }] of openers) toggle(!shadow && OPEN.has(outcome));
  /** @param {Execution} execution */
  const open = (execution) => {
    openers.get(execution)?.toggle(true);
    openers.get(execution)?.button.focus();
  };
  return { element, open };
}

/** @param {Map<Execution, Opener>} openers @param {boolean} streams  whether any waited for chunks */
function legend(openers, streams) {
  const all = el("button", { type: "button" }, "Expand all");
  let isOpen = false;
  all.addEventListener("click", () => {
    isOpen = !isOpen;
    all.textContent = isOpen ? "Collapse all" : "Expand all";
    for (const { toggle } of openers.values()) toggle(isOpen);
  });
  const keys = [["waited", "waited in queues and in transit"], ["worked", "the policy's own work"], ["upstream", "upstream"]];
  if (streams) keys.splice(2, 0, ["chunks", "waited for chunks"]);
  return el(
    "div", { class: "legend" },
    keys.map(([kind, words]) => el("span", null, el("span", { class: `bar ${kind}`, "aria-hidden": "true" }), words)), all,
  );
}

/** @param {number} whole */
function axis(whole) {
  return el("span", { class: "axis", "aria-hidden": "true" }, ticks(whole).map((at) => {
    const tick = el("span", null, at ? `${Number(figure(at))}` : "0 ms");
    tick.style.left = share(at, whole);
    if (at / whole > 0.9) tick.className = "last";
    return tick;
  }));
}

/** @param {Exchange} exchange @param {Turn} turn @param {number} whole @param {string} id */
function turnRows(exchange, turn, whole, id) {
  const { execution } = turn;
  const details = el("td", { colspan: COLUMNS.length + 1 });
  const detailsRow = el("tr", { class: "details", id, hidden: true }, details);
  const button = el(
    "button", { type: "button", class: "expander", "aria-expanded": "false", "aria-controls": id }, el("bdi", null, visible(execution.policy)),
  );
  /** @param {boolean} open */
  const toggle = (open) => {
    if (open && !details.hasChildNodes()) details.append(el("div", { class: "execution" }, executionDetails(exchange, execution)));
    button.setAttribute("aria-expanded", String(open));
    detailsRow.hidden = !open;
  };
  button.addEventListener("click", () => toggle(Boolean(detailsRow.hidden)));
  const bars = () => barsOf(turn, whole);
  const name = el("th", { scope: "row" }, button, el("span", { class: "below quiet" }, phaseOf(execution)), track(bars(), "below"));
  const row = el(
    "tr", { "data-policy": execution.policy }, name,
    cell("Phase", phaseOf(execution)), cell("Began", figure(turn.startedMs)), cell("Took", figure(turn.durationMs)),
    cell("Worked", known(turn.workMs)), cell("Waited", known(turn.waitedMs), forChunks(turn)),
    el("td", { class: "outcome" }, outcomeOf(execution)),
    el("td", { class: "time", "aria-hidden": "true" }, track(bars())),
  );
  return { elements: [row, detailsRow], opener: { toggle, button } };
}

/** @param {UpstreamTime} row @param {number} whole */
function upstreamRow({ upstream, startedMs, durationMs, status }, whole) {
  const bars = () => [bar("upstream", startedMs, durationMs, whole)];
  const name = upstream ? `(upstream ${visible(upstream)})` : "(upstream)";
  return el(
    "tr", { class: "upstream" }, el("th", { scope: "row" }, el("bdi", null, name), track(bars(), "below")),
    cell("Phase", ""), cell("Began", figure(startedMs)), cell("Took", figure(durationMs)), cell("Worked", ""), cell("Waited", ""),
    el("td", { class: "outcome" }, status ? String(status) : "no answer"), el("td", { class: "time", "aria-hidden": "true" }, track(bars())),
  );
}

/** @param {Execution} execution */
function outcomeOf({ outcome, failure, shadow, comparison, changes = [] }) {
  const named = changes.slice(0, MOST_NAMED).map((change) => cut(visible(heading(change)), 60));
  const more = changes.length > MOST_NAMED ? `, ${changes.length - MOST_NAMED} more` : "";
  return [
    shadow ? [badge("shadow"), " "] : null,
    badge(failure ? `${outcome}: ${failure.class}` : outcome, KINDS[outcome] ?? "plain"),
    comparison ? [" ", badge(comparison, comparison === "different" ? "warn" : "plain")] : null,
    named.length ? el("span", { class: "quiet named" }, " ", named.join(", "), more) : null,
  ];
}

/** @param {string} name @param {string} text @param {HTMLElement | null} [more] */
function cell(name, text, more = null) {
  return el("td", { class: classOf(name) }, text, more);
}

/** @param {Turn} turn */
function forChunks({ chunksMs }) {
  return chunksMs === undefined ? null : el("span", { class: "quiet" }, ` + ${figure(chunksMs)} for chunks`);
}

/** @param {string} name */
function classOf(name) {
  return `${name.toLowerCase()}${FIGURES.has(name) ? " number" : ""}`;
}

/** @param {HTMLElement[]} bars @param {string} [more] */
function track(bars, more = "") {
  return el("span", { class: `track ${more}`, "aria-hidden": "true" }, bars);
}

/** The waiting time is drawn first: a recording has only its length. @param {Turn} turn @param {number} whole */
function barsOf({ startedMs, durationMs, waitedMs, workMs, chunksMs = 0 }, whole) {
  if (waitedMs === undefined || workMs === undefined) return [bar("worked", startedMs, durationMs, whole)];
  const chunksFrom = startedMs + waitedMs;
  const chunks = chunksMs ? [bar("chunks", chunksFrom, chunksMs, whole)] : [];
  const worked = bar("worked", chunksFrom + chunksMs, Math.min(workMs, durationMs), whole);
  return [bar("waited", startedMs, waitedMs, whole), ...chunks, worked];
}

/** @param {string} kind @param {number} from @param {number} ms @param {number} whole */
function bar(kind, from, ms, whole) {
  const element = el("span", { class: `bar ${kind}` });
  element.style.left = share(from, whole);
  element.style.width = share(ms, whole);
  return element;
}

/** @param {number} ms @param {number} whole */
function share(ms, whole) {
  return `${((100 * ms) / whole).toFixed(3)}%`;
}

/** @param {number | undefined} milliseconds */
function known(milliseconds) {
  return milliseconds === undefined ? "" : figure(milliseconds);
}
