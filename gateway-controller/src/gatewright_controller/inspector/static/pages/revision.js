// One revision of a resource: who wrote it, what it changed, what is different now, and the way back to it.

import { get } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { facts, heading, lackOfRight, problem, tabs } from "../lib/components.js";
import { diffView } from "../lib/diff_view.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { actionInWords, isThere } from "../lib/history.js";
import { addressOf, pathOf } from "../lib/kinds.js";
import { visible } from "../lib/visible_text.js";
import { Rollback } from "./revision_rollback.js";

/** @typedef {import("../lib/history.js").Entry} Entry */
/** @typedef {import("../lib/kinds.js").Kind} Kind */

/** @param {Kind} kind @returns {import("../lib/router.js").Page} */
export function pageOf(kind) {
  return { title: "Revision", show: (root, params, signal) => show(kind, root, params, signal) };
}

/** @param {Kind} kind @param {HTMLElement} root @param {any} params @param {AbortSignal} signal */
async function show(kind, root, params, signal) {
  const { name } = params;
  const path = pathOf(kind, name);
  const sinceThen = await get(`${path}/diff?${new URLSearchParams({ from: params.revision, to: "0" })}`, { signal });
  /** @type {Entry} */
  const entry = sinceThen.from;
  const { revision } = entry;
  const changed = await diffOfWrite(path, revision, signal);
  const isNewest = sinceThen.to.revision === revision;
  const rollback = new Rollback(kind, name, revision, signal);
  const back = may(kind.write) && isThere(entry) && !isNewest;
  replace(
    root,
    heading(
      `${name}, revision ${revision}`,
      el("a", { class: "button", href: addressOf(kind, name, "history") }, "History"),
      back && el("button", { type: "button", onclick: () => rollback.begin() }, "Roll back to it …"),
    ),
    lackOfRight(kind.write),
    factsOf(entry),
    rollback.element,
    tabs("Differences", [
      ["What it changed", () => (changed ? diffView(changed, "What it changed") : el("p", null, "It is the first of this history: there is nothing before it."))],
      ["What is different now", () => differentNow(kind, sinceThen.diff, isNewest)],
      ...(isThere(entry) ? [/** @type {[string, () => HTMLElement]} */ ([`The ${kind.noun} then`, () => asYaml(`${path}/revisions/${revision}`, `The ${kind.noun} then`, signal)])] : []),
    ]),
  );
}

/** @param {string} path of the resource @param {number} revision @param {AbortSignal} signal @returns {Promise<string>} "": nothing is before it */
async function diffOfWrite(path, revision, signal) {
  const { revisions } = await get(`${path}/revisions?limit=1&before=${revision}`, { signal });
  if (!revisions.length) return "";
  const { diff } = await get(`${path}/diff?from=${revisions[0].revision}&to=${revision}`, { signal });
  return diff;
}

/** @param {Kind} kind @param {string} diff @param {boolean} isNewest */
function differentNow(kind, diff, isNewest) {
  if (isNewest) return el("p", null, "It is the newest revision.");
  return diff ? diffView(diff, "What is different now") : el("p", null, `Nothing: the ${kind.noun} is as it was then.`);
}

/** @param {string} path @param {string} label @param {AbortSignal} signal */
function asYaml(path, label, signal) {
  const shown = el("div", null, el("p", { class: "quiet" }, "Loading …"));
  get(path, { accept: "application/yaml", signal }).then(
    (text) => replace(shown, el("pre", { tabindex: 0, "aria-label": label }, text)),
    (error) => signal.aborted || replace(shown, problem(error)),
  );
  return shown;
}

/** @param {Entry} entry */
function factsOf(entry) {
  return facts([
    ["Action", visible(actionInWords(entry))],
    ["When", el("time", { datetime: entry.at, title: entry.at }, dateTime(entry.at))],
    ["Who", visible(entry.actor)],
    ["From", visible(entry.origin)],
    ["Owner", visible(entry.owner)],
    ["Reason", visible(entry.reason)],
  ]);
}
