// Exchanges as they end.

import { answers, get, getAll, Problem } from "../lib/api.js";
import { isBound } from "../lib/caller.js";
import { empty, heading, notice, problem } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { asQuery, fromQuery } from "../lib/exchange/filter.js";
import { remember } from "../lib/exchange/listed.js";
import { Newest } from "../lib/exchange/newest.js";
import { number } from "../lib/format.js";
import { href } from "../lib/router.js";
import { token } from "../lib/session.js";
import { startWorker } from "../lib/worker.js";
import { filterForm } from "./exchanges_filter.js";
import { ExchangeList } from "./exchanges_list.js";
import { nodesOf, recordingsPanel } from "./exchanges_recordings.js";

/**
 * @typedef {import("../lib/exchange/watch.js").Report} Report
 * @typedef {import("../lib/exchange/summary.js").Summary} Summary
 */

export const page = { title: "Exchanges", show };

const MOST_KEPT = 1000;
const MOST_MOVING = 100; // rows, while they move; all that are kept where they do not
const RATE_MS = 3000;
const REFRESH_MS = 1000;
const HIDDEN_MS = 5 * 60_000;

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { query }, signal) {
  await get("/v1/recordings", { signal }); // a user without a token signs in here first
  if (isBound() && !query.get("api")) await askForApi(root, signal);
  else new ExchangesPage(root, query, signal).watch();
}

/** The controller shows exchanges of one API at a time to a caller who is not for all. @param {HTMLElement} root @param {AbortSignal} signal */
async function askForApi(root, signal) {
  const { apis } = await getAll("/v1/apis", { signal });
  const names = apis.map((/** @type {any} */ { metadata }) => metadata.name);
  const links = names.map((/** @type {string} */ name) => el("a", { class: "button", href: href(["exchanges"], { api: name }) }, name));
  replace(
    root, heading("Exchanges"),
    el("p", null, "Your role is for some APIs, so exchanges are shown of one at a time. Choose it:"),
    links.length ? el("div", { class: "form-row" }, links) : empty("There is no API here."),
  );
}

/** The page of exchanges. `data-passed`, `data-dropped` and `data-state` of `.counts` are for tests. */
class ExchangesPage {
  /** @param {HTMLElement} root @param {URLSearchParams} query @param {AbortSignal} signal */
  constructor(root, query, signal) {
    this.signal = signal;
    this.list = new ExchangeList(() => this.pause(true));
    this.filter = filterForm(fromQuery(query), () => this.refilter(), signal);
    this.pauseButton = el("button", { type: "button", "aria-keyshortcuts": "Space", onclick: () => this.pause(!this.isPaused) });
    this.counts = el("p", { class: "counts" });
    this.message = el("div", { role: "status" });
    this.nodes = el("p", { class: "nodes quiet" });
    const clear = el("button", { type: "button", onclick: () => this.clear() }, "Clear");
    const recordings = recordingsPanel(() => this.filter.filter(), (error) => this.atFields(error), signal);
    replace(
      root, heading("Exchanges", this.pauseButton, clear), this.filter.element, recordings, this.message,
      el("div", { class: "state" }, this.counts, this.nodes), this.list.element,
    );
    this.list.element.addEventListener("scroll", () => this.draw(), { passive: true });
    window.addEventListener("keydown", (event) => this.key(event), { signal });
    document.addEventListener("visibilitychange", () => this.followVisibility(), { signal });
    answers.addEventListener("answer", (event) => this.watchAgain(event), { signal });
    const refreshing = setInterval(() => this.drawCounts(), REFRESH_MS);
    signal.addEventListener("abort", () => {
      clearInterval(refreshing);
      this.leave();
    });
    this.isPaused = false;
    /** @type {Newest<Summary>} */
    this.newest = new Newest(MOST_KEPT);
    /** @type {Summary[]} */
    this.frozen = [];
    /** @type {Report | null} */
    this.report = null;
    this.before = { passed: 0, dropped: 0, kept: 0 }; // counts at the last Clear
    this.shownNodes = "";
    /** @type {[ms: number, passed: number][]} */
    this.rates = [];
  }

  reset() {
    this.newest = new Newest(MOST_KEPT);
    this.frozen = [];
    this.report = null;
    this.before = { passed: 0, dropped: 0, kept: 0 };
    this.rates = [];
  }

  /** From now on, and as long as the page is shown. */
  watch() {
    this.unwatch();
    const worker = startWorker("/assets/lib/exchange/watch_worker.js");
    this.worker = worker;
    worker.addEventListener("message", ({ data }) => {
      if (worker === this.worker) this.showReport(data, () => worker.postMessage("shown"));
    });
    worker.addEventListener("error", () => replace(this.message, notice("bad", "The page's worker failed. Reload the page.")));
    worker.postMessage({ query: asQuery(this.filter.filter()).toString(), token: token() });
    this.pause(this.isPaused);
  }

  unwatch() {
    this.worker?.terminate();
    this.worker = null;
  }

  get address() {
    const query = asQuery(this.filter.filter()).toString();
    return `#/exchanges${query && `?${query}`}`;
  }

  refilter() {
    if (isBound() && !this.filter.filter().api) {
      location.hash = "#/exchanges"; // asks for one
      return;
    }
    history.replaceState(null, "", `${location.pathname}${this.address}`);
    this.filter.mistakes([]);
    this.isPaused = false;
    this.reset();
    this.watch();
  }

  /** @param {Report} report @param {() => void} onShown */
  showReport(report, onShown) {
    const first = !this.report || this.report.state.name !== report.state.name || this.report.state.detail !== report.state.detail;
    this.report = report;
    this.newest.add(report.newest);
    if (report.kept) this.addKept(report.kept);
    if (first) this.showState(report);
    requestAnimationFrame(() => {
      this.draw();
      onShown();
    });
  }

  /** An exchange may arrive twice: as it ended, and then as a kept one. @param {Summary[]} kept */
  addKept(kept) {
    const known = new Set(this.newest.newestFirst().map(({ key }) => key));
    this.newest.addOlder(kept.filter(({ key }) => !known.has(key)));
  }

  /** @param {Report} report */
  showState({ state }) {
    const { status, detail, mistakes } = state;
    if (state.name === "waiting") return replace(this.message, notice("warn", `Not watching: ${detail}. The page tries again.`));
    replace(this.message);
    if (status === 401) get("/v1/recordings", { signal: this.signal }).catch(() => {}); // asks for the token
    else if (state.name === "ended" && !this.atFields(new Problem(status, detail, mistakes))) {
      replace(this.message, problem(new Problem(status, detail, mistakes)));
    }
  }

  /** Shows mistakes of the filter at its fields; whether that was all. @param {unknown} error */
  atFields(error) {
    return error instanceof Problem && error.mistakes.length > 0 && !this.filter.mistakes(error.mistakes).length;
  }

  /** The user has signed in anew, or the controller takes the token again. @param {Event} event */
  watchAgain(event) {
    const ended = this.report?.state;
    if (/** @type {CustomEvent<number>} */ (event).detail < 400 && ended?.name === "ended" && ended.status === 401) {
      this.reset();
      this.watch();
    }
  }

  /** @param {boolean} paused */
  pause(paused) {
    if (paused && !this.isPaused) this.frozen = this.newest.newestFirst();
    this.isPaused = paused;
    this.pauseButton.textContent = paused ? "Resume" : "Pause";
    if (!paused) this.list.element.scrollTop = 0;
    this.draw();
  }

  clear() {
    const { passed = 0, dropped = 0, keptCount = 0 } = this.report ?? {};
    this.before = { passed, dropped, kept: keptCount };
    this.newest = new Newest(MOST_KEPT);
    this.frozen = [];
    this.draw();
  }

  draw() {
    if (this.isPaused) {
      if (this.list.shown !== this.frozen) this.list.show(this.frozen);
    } else if (!this.list.isScrolled) this.list.show(this.newest.newestFirst().slice(0, MOST_MOVING));
    this.drawCounts();
  }

  drawCounts() {
    const { passed = 0, dropped = 0, state, keptCount = 0 } = this.report ?? {};
    const kept = keptCount - this.before.kept;
    const now = { passed: passed - this.before.passed, dropped: dropped - this.before.dropped };
    const isHeld = !this.isPaused && this.list.isScrolled;
    const words = [
      `${number(now.passed)} passed`, `${number(this.rate(passed))}/s`,
      now.dropped ? `${number(now.dropped)} dropped: exchanges arrive faster than this page can show them; narrow the filter, or set a share` : "",
      kept ? `${number(kept)} recorded before` : "",
      `${this.list.shown.length} shown`,
      this.isPaused ? "paused" : isHeld ? "list held: scroll to the top to continue" : "",
    ];
    this.counts.textContent = words.filter(Boolean).join(" · ");
    Object.assign(this.counts.dataset, { ...now, state: this.isPaused ? "paused" : (state?.name ?? "connecting") });
    this.drawNodes();
  }

  drawNodes() {
    const { nodes = null } = this.report ?? {};
    if (JSON.stringify(nodes) === this.shownNodes) return;
    this.shownNodes = JSON.stringify(nodes);
    replace(this.nodes, nodes?.length ? nodesOf(nodes) : nodes ? "No node is connected to the controller." : null);
  }

  /** A second, over the last few. @param {number} passed */
  rate(passed) {
    const now = performance.now();
    this.rates.push([now, passed]);
    while (this.rates.length > 2 && now - this.rates[0][0] > RATE_MS) this.rates.shift();
    const [ms, before] = this.rates[0];
    return Math.round(((passed - before) * 1000) / Math.max(1000, now - ms));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {Element} */ (event.target);
    if (event.key !== " " || event.ctrlKey || event.altKey || event.metaKey) return;
    if (target.closest("input, select, textarea, button, summary, dialog")) return;
    event.preventDefault();
    this.pause(!this.isPaused);
  }

  /** Nodes need not record for a page that is not visible. */
  followVisibility() {
    clearTimeout(this.hidden);
    if (!document.hidden && !this.worker) {
      replace(this.message, notice("info", "Watching stopped because the page was hidden for five minutes. It has started again."));
      this.rates = [];
      this.watch();
    }
    if (document.hidden) this.hidden = setTimeout(() => this.unwatch(), HIDDEN_MS);
  }

  leave() {
    clearTimeout(this.hidden);
    remember(this.list.shown, this.address);
    this.unwatch();
  }
}
