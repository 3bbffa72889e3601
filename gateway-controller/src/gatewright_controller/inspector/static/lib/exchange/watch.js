/** Exchanges as they end, told by `GET /v1/exchanges`: counted, and made small. It runs in a worker. */

import { lineBatches } from "./line_batches.js";
import { Newest } from "./newest.js";
import { read } from "./recorded.js";
import { summary } from "./summary.js";

/**
 * @typedef {import("./summary.js").Summary} Summary
 * @typedef {import("../api.js").Mistake} Mistake
 * @typedef {{id: string, state: string, reason: string}} ToldNode
 * @typedef {{query: string, token: string}} Wanted  query: the filter as parameters
 *
 * @typedef {{
 *   name: "connecting" | "watching" | "waiting" | "ended", status: number, detail: string, mistakes: Mistake[],
 * }} State  waiting: it is tried again soon; ended: it is not. status: the answer's, where it was another than 200; 0: none
 *
 * @typedef {{
 *   passed: number, dropped: number, state: State, nodes: ToldNode[] | null, newest: Summary[],
 *   kept: Summary[] | null, keptCount: number,
 * }} Report  newest: since the last report, the oldest first; kept: those that nodes had kept before, once
 */

export const MOST_LISTED = 1000;
const REPORT_MS = 150;
const LONGEST_SECONDS = 3600;
const KEPT_SECONDS = 10;
const SILENT_MS = 40_000; // the controller says every 15 s that it lives
const RETRY_MS = { least: 500, most: 8000 };

/** One watch. `report` is called at most once in REPORT_MS, and not before the last report was `taken`. */
export class Watch {
  /** @param {Wanted} wanted @param {(report: Report) => void} report */
  constructor(wanted, report) {
    this.wanted = wanted;
    this.report = report;
    this.passed = this.dropped = this.keptCount = 0;
    /** @type {Newest<Summary>} */
    this.newest = new Newest(MOST_LISTED);
    /** @type {Summary[] | null} */
    this.kept = null;
    /** @type {ToldNode[] | null} */
    this.nodes = null;
    this.state = state("connecting");
    this.isNew = this.isHeld = this.isTimed = false;
    this.failures = 0;
    this.isKeptAsked = false;
  }

  /** Until it is refused. */
  async run() {
    while (this.state.name !== "ended") {
      const waitMs = await this.once();
      this.changed();
      if (waitMs) await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  /** The last report has been shown: there may be another. */
  taken() {
    this.isHeld = false;
    this.tell();
  }

  /** One stream, until it ends. @returns {Promise<number>} after how many ms there is to be another */
  async once() {
    try {
      const reason = await this.stream(`seconds=${LONGEST_SECONDS}`, () => this.begun(), (event) => this.take(event));
      if (reason === "seconds") return 0;
      this.state = state("waiting", 0, reason === "stopping" ? "the controller stops" : "the stream has ended");
    } catch (error) {
      this.state = error instanceof Refusal ? error.state : state("waiting", 0, "the controller does not answer");
      if (!(error instanceof Refusal) && !isOfNetwork(error)) this.state = state("ended", 0, String(error));
    }
    this.nodes = null; // their state is not known now
    this.failures += 1;
    return Math.min(RETRY_MS.most, RETRY_MS.least * 2 ** (this.failures - 1));
  }

  begun() {
    this.state = state("watching");
    this.failures = 0;
    this.changed();
    if (!this.isKeptAsked) this.askForKept();
    this.isKeptAsked = true;
  }

  /** What was kept before: a page is never empty where there is something. */
  async askForKept() {
    /** @type {Newest<Summary>} */
    const found = new Newest(MOST_LISTED);
    /** @param {any} event */
    const take = ({ exchange }) => {
      if (!exchange) return;
      this.keptCount += 1;
      found.add([summary(read(exchange))]);
    };
    await this.stream(`kept=true&seconds=${KEPT_SECONDS}`, () => {}, take).catch(() => {});
    this.kept = found.take().sort((summary, other) => endOf(summary) - endOf(other));
    this.changed();
  }

  /**
   * @param {string} more  parameters
   * @param {() => void} begun
   * @param {(event: any) => void} take
   * @returns {Promise<string>} why it has ended, "" where no reason came
   */
  async stream(more, begun, take) {
    const aborter = new AbortController();
    let timer = setTimeout(() => aborter.abort(), SILENT_MS);
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => aborter.abort(), SILENT_MS);
    };
    try {
      const response = await this.fetch(more, aborter.signal);
      begun();
      for await (const lines of lineBatches(/** @type {ReadableStream<Uint8Array>} */ (response.body), heard)) {
        for (const line of lines) {
          const event = JSON.parse(line);
          take(event);
          if (event.ended) return event.ended.reason;
        }
      }
      return "";
    } finally {
      clearTimeout(timer);
      aborter.abort();
    }
  }

  /** @param {string} more @param {AbortSignal} signal */
  async fetch(more, signal) {
    const { query, token } = this.wanted;
    /** @type {Record<string, string>} */
    const headers = { accept: "application/x-ndjson", ...(token && { authorization: `Bearer ${token}` }) };
    const path = `/v1/exchanges?${[query, more].filter(Boolean).join("&")}`;
    const response = await fetch(path, { headers, signal, credentials: "omit", cache: "no-store" });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** @param {any} event */
  take({ exchange, dropped, nodes }) {
    if (exchange) {
      this.passed += 1;
      this.newest.add([summary(read(exchange))]);
    }
    if (dropped) this.dropped += dropped.exchanges;
    if (nodes) this.nodes = nodes;
    this.changed();
  }

  changed() {
    this.isNew = true;
    if (!this.isTimed && !this.isHeld) this.tell();
  }

  tell() {
    if (!this.isNew || this.isHeld || this.isTimed) return;
    const { passed, dropped, nodes, keptCount, kept } = this;
    this.isNew = false;
    this.isHeld = this.isTimed = true;
    this.kept = null;
    this.report({ passed, dropped, state: this.state, nodes, newest: this.newest.take(), kept, keptCount });
    setTimeout(() => {
      this.isTimed = false;
      this.tell();
    }, REPORT_MS);
  }
}

/** An answer other than success: `state` says what comes of it. */
class Refusal extends Error {
  /** @param {State} state */
  constructor(state) {
    super(state.detail);
    this.state = state;
  }
}

/** @param {Response} response */
async function refusal(response) {
  const told = await response.json().catch(() => ({}));
  const name = response.status >= 500 ? "waiting" : "ended";
  return new Refusal(state(name, response.status, String(told.detail ?? response.statusText), told.errors ?? []));
}

/** @param {State["name"]} name @param {number} [status] @param {string} [detail] @param {Mistake[]} [mistakes] @returns {State} */
function state(name, status = 0, detail = "", mistakes = []) {
  return { name, status, detail, mistakes };
}

/** fetch() and streams fail with a TypeError where the connection does; what is aborted was silent. @param {unknown} error */
function isOfNetwork(error) {
  return error instanceof TypeError || (error instanceof DOMException && error.name === "AbortError");
}

/** @param {Summary} summary */
function endOf({ startedAt, durationMs }) {
  return Date.parse(startedAt) + durationMs;
}
