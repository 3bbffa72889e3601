// The audit log: every write and every refusal, the newest first.

import { get } from "../lib/api.js";
import { addressOf, filterOf, pageOf, pathOf } from "../lib/audit.js";
import { badge, empty, heading, problem, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { spaced } from "../lib/history.js";
import { href } from "../lib/router.js";
import { cut, visible } from "../lib/visible_text.js";

export const page = { title: "Audit log", show };

/** @typedef {import("../lib/audit.js").AuditEntry} AuditEntry */
/** @typedef {import("../lib/audit.js").AuditFilter} AuditFilter */

const COLUMNS = ["When", "Who", "From", "What", "Outcome", "Reason"];
const MOST = 50;
const LONGEST = 200;

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, params, signal) {
  const filter = filterOf(params.query);
  const before = params.query.get("before") ?? "";
  const { entries, next } = await get(pathOf(filter, before, MOST), { signal });
  const nothing = before ? "There is no older entry." : "No entry matches.";
  replace(
    root,
    heading("Audit log"),
    filterForm(filter, () => show(root, params, signal).catch((error) => signal.aborted || root.append(problem(error)))),
    entries.length ? table("Audit log", COLUMNS, entries.map(row)) : empty(nothing),
    el(
      "p", { class: "form-row" },
      before && el("a", { class: "button", href: addressOf(filter) }, "Newest"),
      next && el("a", { class: "button", href: addressOf(filter, entries.at(-1).number) }, "Older"),
    ),
  );
}

/** @param {AuditFilter} filter @param {() => void} again asks anew with the same filter */
function filterForm({ actor, name, refused }, again) {
  const who = el("input", { id: "audit-actor", value: actor, placeholder: "token:ann", autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const what = el("input", { id: "audit-name", value: name, placeholder: "orders", autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const only = el("input", { type: "checkbox", checked: refused });
  const form = el(
    "form", { class: "form-row audit-filter", role: "search", "aria-label": "Which entries" },
    el("div", { class: "field" }, el("label", { for: "audit-actor" }, "Who"), who),
    el("div", { class: "field" }, el("label", { for: "audit-name" }, "Name of the resource"), what),
    el("label", null, only, "Refused only"),
    el("button", { type: "submit" }, "Show"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const address = addressOf({ actor: who.value.trim(), name: what.value.trim(), refused: only.checked });
    if (location.hash === address) again();
    else location.hash = address;
  });
  return form;
}

/** @param {AuditEntry} entry */
function row(entry) {
  return [
    el("a", { class: "when", href: href(["audit", String(entry.number)]) }, dateTime(entry.at)),
    el("bdi", null, visible(entry.actor)),
    el("bdi", null, visible(entry.origin)),
    whatOf(entry),
    outcomeOf(entry),
    why(entry),
  ];
}

/** @param {AuditEntry} entry */
function why({ detail, reason }) {
  const text = [reason, detail].filter(Boolean).join(" · ");
  return text && el("div", { class: "why" }, el("bdi", null, cut(visible(text), LONGEST)));
}

/** @param {AuditEntry} entry */
export function whatOf(entry) {
  const isDone = entry.outcome === "done";
  const resource = visible(isDone ? `${entry.kind} ${entry.name}`.trim() : entry.name);
  const to = pageOf(entry);
  return [
    isDone ? spaced(entry.action) : el("code", null, visible(entry.action)), " ",
    to && resource ? el("a", { href: to }, resource) : el("bdi", null, resource),
  ];
}

/** @param {AuditEntry} entry */
export function outcomeOf({ outcome, status }) {
  return badge(outcome === "done" ? "done" : `refused, ${status}`, outcome === "done" ? "good" : "bad");
}
