// A list of exchanges, the newest first, whose rows are used again: thousands pass a second.

import { badge, empty } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { duration, time } from "../lib/format.js";
import { href } from "../lib/router.js";
import { cut, visible } from "../lib/visible_text.js";

/**
 * @typedef {import("../lib/exchange/summary.js").Summary} Summary
 * @typedef {{row: HTMLTableRowElement, shows: (exchange: Summary) => void, link: HTMLAnchorElement}} Row
 */

const COLUMNS = ["Began", "Status", "Request", "API and operation", "Took", "Outcome"];
/** @type {Record<string, string>} */
const KINDS = { failed: "bad", cancelled: "warn", continued: "warn" };
const LONGEST_OUTCOME = 200;
const PAGE_ROWS = 10;

export class ExchangeList {
  /** @param {() => void} selecting  called before a row is selected by keyboard, so that rows no longer move */
  constructor(selecting) {
    this.selecting = selecting;
    this.body = el("tbody", null);
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Summary[]} */
    this.shown = [];
    this.selected = "";
    const head = el("tr", null, COLUMNS.map((name) => el("th", { scope: "col" }, name)));
    const caption = el("caption", { class: "unseen" }, "Exchanges, the newest first. Arrows select one, Enter opens it.");
    this.nothing = empty("No exchange matches yet. Exchanges appear here as they end.");
    this.element = el(
      "div", { class: "scrolls exchanges", role: "region", "aria-label": "Exchanges", tabindex: 0 },
      el("table", null, caption, el("thead", null, head), this.body), this.nothing,
    );
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => this.#click(event));
    this.body.addEventListener("focusin", (event) => this.#focused(event));
  }

  /** Whether the user reads further down, where rows must not move. */
  get isScrolled() {
    return this.element.scrollTop > 4;
  }

  /** @param {Summary[]} exchanges  the newest first */
  show(exchanges) {
    const wanted = new Set(exchanges.map(({ key }) => key));
    const free = [...this.rows].filter(([key]) => !wanted.has(key)).map(([key, row]) => {
      this.rows.delete(key);
      row.row.remove();
      return row;
    });
    let at = this.body.firstElementChild;
    for (const exchange of exchanges) {
      const { row } = this.rows.get(exchange.key) ?? this.#make(exchange, free.pop());
      if (row === at) at = row.nextElementSibling;
      else this.body.insertBefore(row, at);
    }
    this.shown = exchanges;
    this.nothing.hidden = exchanges.length > 0;
    this.#mark();
  }

  /** @param {Summary} exchange @param {Row} [used] @returns {Row} */
  #make(exchange, used) {
    const row = used ?? newRow();
    row.shows(exchange);
    row.row.dataset.key = exchange.key;
    this.rows.set(exchange.key, row);
    return row;
  }

  /** One link is in the order of the tab key: the selected row's, else the first one's. */
  #mark() {
    const chosen = this.rows.get(this.selected) ?? this.rows.get(this.shown[0]?.key);
    for (const [key, { row, link }] of this.rows) {
      link.tabIndex = link === chosen?.link ? 0 : -1;
      if (key === this.selected) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  /** @param {string} key */
  select(key) {
    this.selected = key;
    this.#mark();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const current = Math.max(0, this.shown.findIndex(({ key }) => key === this.selected));
    const last = this.shown.length - 1;
    const to = { ArrowDown: current + 1, ArrowUp: current - 1, Home: 0, End: last, PageDown: current + PAGE_ROWS, PageUp: current - PAGE_ROWS }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const { key } = this.shown[Math.min(last, Math.max(0, to))];
    this.rows.get(key)?.link.focus();
  }

  /** @param {FocusEvent} event */
  #focused(event) {
    const key = keyOf(event);
    if (!key || !(/** @type {Element} */ (event.target).matches(":focus-visible"))) return;
    this.selecting();
    this.select(key);
  }

  /** A row is a larger link; text in it can still be selected. @param {MouseEvent} event */
  #click(event) {
    const key = keyOf(event);
    if (!key || event.defaultPrevented || getSelection()?.toString()) return;
    this.select(key);
    if (!(/** @type {Element} */ (event.target).closest("a"))) this.rows.get(key)?.link.click();
  }
}

/** @param {Event} event */
function keyOf(event) {
  const row = /** @type {Element} */ (event.target).closest("tr");
  return row?.dataset.key ?? "";
}

/** @returns {Row} */
function newRow() {
  const began = el("td", { class: "began" });
  const status = el("td", null);
  const method = el("span", { class: "method" });
  const target = el("bdi", null);
  const link = el("a", null, method, " ", target);
  const below = el("span", { class: "below quiet" });
  const apiAndOperation = el("td", { class: "api-operation" });
  const took = el("td", { class: "number took" });
  const outcome = el("td", { class: "outcome" });
  const row = el("tr", null, began, status, el("th", { scope: "row" }, link, below), apiAndOperation, took, outcome);
  /** @param {Summary} exchange */
  const shows = (exchange) => {
    const named = visible(`${exchange.api} ${exchange.operation}`);
    began.textContent = time(exchange.startedAt);
    began.title = exchange.startedAt;
    replace(status, statusBadge(exchange.status));
    link.setAttribute("href", href(["exchanges", exchange.id]));
    method.textContent = visible(exchange.method);
    target.textContent = visible(exchange.target);
    below.textContent = `${time(exchange.startedAt)}, ${duration(exchange.durationMs)}, ${named}`;
    apiAndOperation.textContent = named;
    took.textContent = duration(exchange.durationMs);
    replace(outcome, outcomeOf(exchange));
  };
  return { row, shows, link };
}

/** @param {number} status  0: none was seen */
export function statusBadge(status) {
  if (!status) return el("span", { class: "badge warn", title: "the engine saw no response" }, "none");
  return badge(String(status), status >= 500 ? "bad" : status >= 400 ? "warn" : "good");
}

/** @param {Summary} exchange */
function outcomeOf({ answeredBy, notes, badges }) {
  const marks = badges.map((word) => [badge(word, KINDS[word] ?? "plain"), " "]);
  return [marks, el("bdi", null, cut(visible(notes.join("; ") || (answeredBy === "upstream" ? "the upstream" : answeredBy)), LONGEST_OUTCOME))];
}
