// The way back to a revision: what would change, by a dry run, before it is done.

import { Problem, send } from "../lib/api.js";
import { notice, problem } from "../lib/components.js";
import { countOf, diffView } from "../lib/diff_view.js";
import { el, replace } from "../lib/dom.js";
import { rollbackInWords } from "../lib/history.js";
import { addressOf, pathOf } from "../lib/kinds.js";

const LONGEST_REASON = 1000;

/** @typedef {{kind: string, revision: number | null, diff: string, moved?: {field: string, policy: string, before: string, after: string}[]}} Change */

export class Rollback {
  /** @param {import("../lib/kinds.js").Kind} kind @param {string} name @param {number} revision @param {AbortSignal} signal */
  constructor(kind, name, revision, signal) {
    this.kind = kind;
    this.name = name;
    this.revision = revision;
    this.signal = signal;
    this.element = el("div");
    this.message = el("div", { role: "status" });
    this.change = el("div");
    this.reason = el("input", { id: "rollback-reason", maxlength: LONGEST_REASON, autocomplete: "off" });
    this.confirm = el("button", { type: "submit", class: "primary", "aria-disabled": "true" }, "Roll back");
    /** @type {number | null | undefined} the newest revision at the dry run; null: there is none; undefined: not known */
    this.expected = undefined;
    this.writing = false;
  }

  async begin() {
    const cancel = el("button", { type: "button", onclick: () => replace(this.element) }, "Cancel");
    const title = el("h2", { tabindex: -1, id: "rollback-title" }, `Roll back ${this.name} to revision ${this.revision}`);
    const form = el(
      "form", { class: "card rollback", "aria-labelledby": "rollback-title" },
      title, this.message, this.change,
      el("div", { class: "field" }, el("label", { for: "rollback-reason" }, "Reason"), this.reason, el("span", { class: "hint" }, "Kept with the change.")),
      el("div", { class: "form-row" }, this.confirm, cancel),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.write();
    });
    replace(this.element, form);
    title.focus();
    await this.dryRun(null);
  }

  /** Shows what would change. @param {import("../lib/dom.js").Child} before what happened before */
  async dryRun(before) {
    this.#allow(undefined);
    replace(this.message, before, el("p", null, "Asking what would change …"));
    replace(this.change);
    try {
      const change = await this.#try();
      const words = rollbackInWords(this.kind.noun, change, countOf(change.diff));
      this.#allow(change.kind === "unchanged" ? undefined : change.revision);
      replace(this.message, before, el("p", null, words));
      replace(
        this.change,
        (change.moved ?? []).map(({ field, policy, before, after }) => el("p", null, el("code", null, field), `: ${policy} would move from ${before} to ${after}.`)),
        change.diff && diffView(change.diff, "What would change"),
      );
    } catch (error) {
      if (!this.signal.aborted) replace(this.message, before, problem(error));
    }
  }

  /** @returns {Promise<Change>} */
  async #try() {
    return (await this.#send({ dry_run: "true" }, {})).status.change;
  }

  /** @param {Record<string, string>} query @param {Record<string, string>} headers */
  #send(query, headers) {
    const path = `${pathOf(this.kind, this.name)}/rollback?${new URLSearchParams(query)}`;
    return send("POST", path, { revision: this.revision }, { headers, signal: this.signal });
  }

  /** @param {number | null | undefined} expected */
  #allow(expected) {
    this.expected = expected;
    this.confirm.setAttribute("aria-disabled", String(expected === undefined));
  }

  async write() {
    if (this.writing || this.expected === undefined) return;
    this.writing = true;
    try {
      if (await this.#isOutdated()) return;
      const reason = this.reason.value.trim();
      await this.#send(reason ? { reason } : {}, this.expected === null ? {} : { "if-match": `"${this.expected}"` });
      location.hash = addressOf(this.kind, this.name);
    } catch (error) {
      if (this.signal.aborted) return;
      if (error instanceof Problem && error.status === 412) await this.#conflict();
      else replace(this.message, problem(error));
    } finally {
      this.writing = false;
    }
  }

  /** A resource that is not there has no revision for If-Match: the page asks once more whether another author has created it. */
  async #isOutdated() {
    if (this.expected !== null || (await this.#try()).revision === null) return false;
    await this.#conflict();
    return true;
  }

  async #conflict() {
    await this.dryRun(notice("bad", `Not rolled back: another author has written ${this.name} meanwhile. This is what would change now.`));
  }
}
