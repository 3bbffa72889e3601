/** Follows exchanges as they end (`GET /v1/exchanges`), counts and summarizes them. It runs in a worker. */

import { lineBatches } from "./line_batches.js";
import { Newest } from "./newest.js";
import { read } from "./recorded.js";
import { summary } from "./summary.js";

/**
 * @typedef {import("./summary.js").Summary} Summary
 * @typedef {import("../api.js").Mistake} Mistake
 * @typedef {{id: string, state: string, reason: string}} NodeState
 * @typedef {{query: string, token: string}} WatchRequest  query: the filter as parameters
 *
 * @typedef {{
 *   name: "connecting" | "watching" | "waiting" | "ended", status: number, detail: string, mistakes: Mistake[],
 * }} State  waiting: the watch tries again soon; ended: it does not. status: of the answer, if it was not 200; else 0
 *
 * @typedef {{
 *   passed: number, dropped: number, state: State, nodes: NodeState[] | null, newest: Summary[],
 *   kept: Summary[] | null, keptCount: number,
 * }} Report  newest: since the last report, the oldest first; kept: those that nodes had kept before, once
 */

export const MOST_LISTED = 1000;
const REPORT_MS = 150;
const LONGEST_SECONDS = 3600;
const KEPT_SECONDS = 10;
const SILENT_MS = 40_000; // the controller sends a keep-alive every 15 s
const RETRY_MS = { least: 500, most: 8000 };

/** One watch. `report` is called at most once in REPORT_MS, and not before the last report was shown. */
export class Watch {
  /** @param {WatchRequest} request @param {(report: Report) => void} report */
  constructor(request, report) {
    this.request = request;
    this.report = report;
    this.passed = this.dropped = this.keptCount = 0;
    /** @type {Newest<Summary>} */
    this.newest = new Newest(MOST_LISTED);
    /** @type {Summary[] | null} */
    this.kept = null;
    /** @type {NodeState[] | null} */
    this.nodes = null;
    this.state = state("connecting");
    this.isNew = this.isHeld = this.isTimed = false;
    this.failures = 0;
    this.isKeptAsked = false;
  }

  /** Watches until the controller refuses. */
  async run() {
    while (this.state.name !== "ended") {
      const waitMs = await this.watchOnce();
      this.scheduleReport();
      if (waitMs) await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  /** The page has shown the last report, and can take another. */
  reportShown() {
    this.isHeld = false;
    this.sendReport();
  }

  /** Follows one stream until it ends. @returns {Promise<number>} ms to wait before the next one */
  async watchOnce() {
    try {
      const reason = await this.stream(`seconds=${LONGEST_SECONDS}`, () => this.onOpen(), (event) => this.addEvent(event));
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

  onOpen() {
    this.state = state("watching");
    this.failures = 0;
    this.scheduleReport();
    if (!this.isKeptAsked) this.askForKept();
    this.isKeptAsked = true;
  }

  /** Asks for exchanges that nodes kept before, so that a new page is not empty. */
  async askForKept() {
    /** @type {Newest<Summary>} */
    const kept = new Newest(MOST_LISTED);
    /** @param {any} event */
    const addKept = ({ exchange }) => {
      if (!exchange) return;
      this.keptCount += 1;
      kept.add([summary(read(exchange))]);
    };
    await this.stream(`kept=true&seconds=${KEPT_SECONDS}`, () => {}, addKept).catch(() => {});
    this.kept = kept.take().sort((summary, other) => endOf(summary) - endOf(other));
    this.scheduleReport();
  }

  /**
   * @param {string} more  parameters
   * @param {() => void} onOpen
   * @param {(event: any) => void} onEvent
   * @returns {Promise<string>} why the stream ended, "" without a reason
   */
  async stream(more, onOpen, onEvent) {
    const aborter = new AbortController();
    let timer = setTimeout(() => aborter.abort(), SILENT_MS);
    const onData = () => {
      clearTimeout(timer);
      timer = setTimeout(() => aborter.abort(), SILENT_MS);
    };
    try {
      const response = await this.fetch(more, aborter.signal);
      onOpen();
      for await (const lines of lineBatches(/** @type {ReadableStream<Uint8Array>} */ (response.body), onData)) {
        for (const line of lines) {
          const event = JSON.parse(line);
          onEvent(event);
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
    const { query, token } = this.request;
    /** @type {Record<string, string>} */
    const headers = { accept: "application/x-ndjson", ...(token && { authorization: `Bearer ${token}` }) };
    const path = `/v1/exchanges?${[query, more].filter(Boolean).join("&")}`;
    const response = await fetch(path, { headers, signal, credentials: "omit", cache: "no-store" });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** @param {any} event */
  addEvent({ exchange, dropped, nodes }) {
    if (exchange) {
      this.passed += 1;
      this.newest.add([summary(read(exchange))]);
    }
    if (dropped) this.dropped += dropped.exchanges;
    if (nodes) this.nodes = nodes;
    this.scheduleReport();
  }

  scheduleReport() {
    this.isNew = true;
    if (!this.isTimed && !this.isHeld) this.sendReport();
  }

  sendReport() {
    if (!this.isNew || this.isHeld || this.isTimed) return;
    const { passed, dropped, nodes, keptCount, kept } = this;
    this.isNew = false;
    this.isHeld = this.isTimed = true;
    this.kept = null;
    this.report({ passed, dropped, state: this.state, nodes, newest: this.newest.take(), kept, keptCount });
    setTimeout(() => {
      this.isTimed = false;
      this.sendReport();
    }, REPORT_MS);
  }
}

/** An answer other than success; `state` is the state that follows. */
class Refusal extends Error {
  /** @param {State} state */
  constructor(state) {
    super(state.detail);
    this.state = state;
  }
}

/** @param {Response} response */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const name = response.status >= 500 ? "waiting" : "ended";
  return new Refusal(state(name, response.status, String(problem.detail ?? response.statusText), problem.errors ?? []));
}

/** @param {State["name"]} name @param {number} [status] @param {string} [detail] @param {Mistake[]} [mistakes] @returns {State} */
function state(name, status = 0, detail = "", mistakes = []) {
  return { name, status, detail, mistakes };
}

/** fetch() and streams fail with a TypeError where the connection fails, and with an AbortError after SILENT_MS. @param {unknown} error */
function isOfNetwork(error) {
  return error instanceof TypeError || (error instanceof DOMException && error.name === "AbortError");
}

/** @param {Summary} summary */
function endOf({ startedAt, durationMs }) {
  return Date.parse(startedAt) + durationMs;
}
