// Recordings: what nodes keep without a watcher.

import { getAll, Problem, send } from "../lib/api.js";
import { badge, empty, problem } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { asDocument, inWords } from "../lib/exchange/filter.js";
import { time } from "../lib/format.js";
import { poll } from "../lib/poll.js";
import { visible } from "../lib/visible_text.js";

/**
 * @typedef {import("../lib/exchange/filter.js").Filter} Filter
 * @typedef {{id: string, state: string, reason: string}} NodeState
 * @typedef {{id: string, filter: Record<string, unknown>, endsAt: string, nodes: NodeState[]}} Recording
 */

const POLL_SECONDS = 10;
const LONGEST_MINUTES = 60;

/**
 * @param {() => Filter} filter  of the exchanges to record
 * @param {(error: unknown) => boolean} atFields  shows mistakes at the filter's fields; whether that was all
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function recordingsPanel(filter, atFields, signal) {
  const summary = el("summary", null, "Recordings");
  const list = el("div", { "aria-live": "polite" });
  const failed = el("div", null);
  const minutes = el("input", { type: "number", id: "record-minutes", min: 1, max: LONGEST_MINUTES, value: 10, required: true });
  const begin = el(
    "form", { class: "form-row" },
    el("div", { class: "field" }, el("label", { for: minutes.id }, "Minutes"), minutes),
    el("button", { type: "submit" }, "Record matching exchanges"),
  );
  let last = "";
  const load = async () => {
    const { recordings } = await getAll("/v1/recordings", { signal });
    if (JSON.stringify(recordings) === last) return; // or a button would lose the focus
    last = JSON.stringify(recordings);
    summary.textContent = recordings.length ? `Recordings: ${recordings.length} under way` : "Recordings";
    replace(list, shown(recordings, (id) => act(() => send("DELETE", `/v1/recordings/${id}`, undefined, { signal }))));
  };
  /** @param {() => Promise<unknown>} work */
  const act = async (work) => {
    replace(failed);
    try {
      await work();
    } catch (error) {
      if (signal.aborted) return;
      if (!isOver(error) && !atFields(error)) replace(failed, problem(error));
    }
    await load().catch(() => {});
  };
  begin.addEventListener("submit", (event) => {
    event.preventDefault();
    const recording = { filter: asDocument(filter()), seconds: 60 * minutes.valueAsNumber };
    act(() => send("POST", "/v1/recordings", recording, { signal }));
  });
  poll(POLL_SECONDS, () => load().catch(() => {}), signal);
  const hint = el(
    "p", { class: "quiet" },
    "Nodes keep watched and recorded exchanges in memory: the newest ones, as long as there is room. " +
      "A recording goes on after this page is closed.",
  );
  return el("details", { class: "card recordings" }, summary, hint, begin, failed, list);
}

/** It has ended by itself meanwhile. @param {unknown} error */
function isOver(error) {
  return error instanceof Problem && error.status === 404;
}

/** @param {Recording[]} recordings @param {(id: string) => void} end */
function shown(recordings, end) {
  if (!recordings.length) return empty("No recording is under way.");
  return el("ul", { class: "plain" }, recordings.map(({ id, filter, endsAt, nodes }) => {
    const words = visible(inWords(filter));
    const stop = el("button", { type: "button", "aria-label": `Stop recording ${words}`, onclick: () => end(id) }, "Stop");
    return el("li", { class: "form-row" }, el("bdi", null, words), ` until ${time(endsAt).slice(0, 8)}`, nodesOf(nodes), stop);
  }));
}

/** @param {NodeState[]} nodes */
export function nodesOf(nodes) {
  return nodes.map(({ id, state, reason }) =>
    el("span", { class: "node" }, el("bdi", null, visible(id)), " ", badge(state), reason ? ` ${visible(reason)}` : null),
  );
}
