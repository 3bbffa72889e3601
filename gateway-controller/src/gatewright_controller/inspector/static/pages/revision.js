// One revision of an API: who wrote it, what it changed, what is different now, and the way back to it.

import { get } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { facts, heading, lackOfRight, problem, tabs } from "../lib/components.js";
import { diffView } from "../lib/diff_view.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { actionInWords, isThere } from "../lib/history.js";
import { href } from "../lib/router.js";
import { visible } from "../lib/visible_text.js";
import { Rollback } from "./revision_rollback.js";

export const page = { title: "Revision", show };

/** @typedef {import("../lib/history.js").Entry} Entry */

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, params, signal) {
  const { name } = params;
  const path = `/v1/apis/${encodeURIComponent(name)}`;
  const sinceThen = await get(`${path}/diff?${new URLSearchParams({ from: params.revision, to: "0" })}`, { signal });
  /** @type {Entry} */
  const entry = sinceThen.from;
  const { revision } = entry;
  const changed = await diffOfWrite(path, revision, signal);
  const isNewest = sinceThen.to.revision === revision;
  const rollback = new Rollback(name, revision, signal);
  const back = may("apis:write") && isThere(entry) && !isNewest;
  replace(
    root,
    heading(
      `${name}, revision ${revision}`,
      el("a", { class: "button", href: href(["apis", name, "history"]) }, "History"),
      back && el("button", { type: "button", onclick: () => rollback.begin() }, "Roll back to it …"),
    ),
    lackOfRight("apis:write"),
    factsOf(entry),
    rollback.element,
    tabs("Differences", [
      ["What it changed", () => (changed ? diffView(changed, "What it changed") : el("p", null, "It is the first of this history: there is nothing before it."))],
      ["What is different now", () => differentNow(sinceThen.diff, isNewest)],
      ...(isThere(entry) ? [/** @type {[string, () => HTMLElement]} */ (["The API then", () => asYaml(`${path}/revisions/${revision}`, signal)])] : []),
    ]),
  );
}

/** @param {string} path of the API @param {number} revision @param {AbortSignal} signal @returns {Promise<string>} "": nothing is before it */
async function diffOfWrite(path, revision, signal) {
  const { revisions } = await get(`${path}/revisions?limit=1&before=${revision}`, { signal });
  if (!revisions.length) return "";
  const { diff } = await get(`${path}/diff?from=${revisions[0].revision}&to=${revision}`, { signal });
  return diff;
}

/** @param {string} diff @param {boolean} isNewest */
function differentNow(diff, isNewest) {
  if (isNewest) return el("p", null, "It is the newest revision.");
  return diff ? diffView(diff, "What is different now") : el("p", null, "Nothing: the API is as it was then.");
}

/** @param {string} path @param {AbortSignal} signal */
function asYaml(path, signal) {
  const shown = el("div", null, el("p", { class: "quiet" }, "Loading …"));
  get(path, { accept: "application/yaml", signal }).then(
    (text) => replace(shown, el("pre", { tabindex: 0, "aria-label": "The API then" }, text)),
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
