// The history of one resource: each write, the newest first; also of one that was deleted.

import { get } from "../lib/api.js";
import { empty, heading, notice, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { actionInWords, isThere } from "../lib/history.js";
import { addressOf, pathOf } from "../lib/kinds.js";
import { href } from "../lib/router.js";
import { visible } from "../lib/visible_text.js";

/** @typedef {import("../lib/history.js").Entry} Entry */
/** @typedef {import("../lib/kinds.js").Kind} Kind */

const COLUMNS = ["Revision", "Action", "When", "Who", "From", "Owner", "Reason"];
const MOST = 50;

/** @param {Kind} kind @returns {import("../lib/router.js").Page} */
export function pageOf(kind) {
  return { title: "History", show: (root, params, signal) => show(kind, root, params, signal) };
}

/** @param {Kind} kind @param {HTMLElement} root @param {any} params @param {AbortSignal} signal */
async function show(kind, root, { name, query }, signal) {
  const before = query.get("before") ?? "";
  const asked = new URLSearchParams({ limit: String(MOST), ...(before && { before }) });
  const { revisions, next } = await get(`${pathOf(kind, name)}/revisions?${asked}`, { signal });
  const [newest] = revisions;
  const isGone = !before && newest && !isThere(newest);
  replace(
    root,
    heading(`History of ${name}`, !isGone && el("a", { class: "button", href: addressOf(kind, name) }, `The ${kind.noun}`)),
    isGone && notice("info", `${name} is not there any more: it was ${visible(actionInWords(newest))}. To have it again, open an older revision and roll back to it.`),
    revisions.length ? table(`History of ${name}`, COLUMNS, revisions.map((/** @type {Entry} */ entry) => row(kind, name, entry))) : empty("There is no older revision."),
    el(
      "p", { class: "form-row" },
      before && el("a", { class: "button", href: addressOf(kind, name, "history") }, "Newest"),
      next && el("a", { class: "button", href: href([...kind.place, name, "history"], { before: String(revisions.at(-1).revision) }) }, "Older"),
    ),
  );
}

/** @param {Kind} kind @param {string} name @param {Entry} entry */
function row(kind, name, entry) {
  return [
    el("a", { href: addressOf(kind, name, "history", String(entry.revision)) }, entry.revision),
    visible(actionInWords(entry)),
    el("time", { class: "when", datetime: entry.at, title: entry.at }, dateTime(entry.at)),
    ...[entry.actor, entry.origin, entry.owner].map((text) => el("bdi", null, visible(text))),
    entry.reason && el("div", { class: "why" }, el("bdi", null, visible(entry.reason))),
  ];
}
