// One entry of the audit log, with what the write has changed.

import { get, Problem } from "../lib/api.js";
import { pathOf } from "../lib/audit.js";
import { facts, heading } from "../lib/components.js";
import { diffView } from "../lib/diff_view.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { visible } from "../lib/visible_text.js";
import { outcomeOf, whatOf } from "./audit.js";

export const page = { title: "Entry of the audit log", show };

/** @typedef {import("../lib/audit.js").AuditEntry} AuditEntry */

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, params, signal) {
  const number = Number(params.number);
  const everything = { actor: "", name: "", refused: false };
  const { entries } = await get(`${pathOf(everything, String(number + 1), 1)}&changes=true`, { signal });
  /** @type {AuditEntry | undefined} */
  const entry = entries[0];
  if (entry?.number !== number) throw new Problem(404, `the audit log has no entry ${params.number}`);
  replace(
    root,
    heading(`Entry ${number} of the audit log`, el("a", { class: "button", href: "#/audit" }, "Audit log")),
    facts([
      ["When", el("time", { datetime: entry.at, title: entry.at }, dateTime(entry.at))],
      ["Who", el("bdi", null, visible(entry.actor))],
      ["From", visible(entry.origin)],
      ["What", whatOf(entry)],
      ["Outcome", outcomeOf(entry)],
      ["Revision", entry.revision],
      ["Reason", visible(entry.reason)],
      ["Why it was refused", visible(entry.detail ?? "")],
    ]),
    entry.outcome === "done" && [el("h2", null, "What it changed"), changesOf(entry)],
  );
}

/** @param {AuditEntry} entry */
function changesOf({ diff }) {
  if (diff === undefined) return el("p", null, "This write has no differences to show.");
  return diff ? diffView(diff, "What it changed") : el("p", null, "It is the first of its history: there is nothing before it.");
}
