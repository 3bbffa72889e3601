// Writes an API, or changes one: at each pause the controller checks the text and lists the changes.

import { get, getAll, Problem, request, send } from "../lib/api.js";
import { heading, notice, problem } from "../lib/components.js";
import { CodeArea, KEYS } from "../lib/code_area.js";
import { countOf, diffView } from "../lib/diff_view.js";
import { draftOf, forget, keep } from "../lib/drafts.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { redraw } from "../lib/live.js";
import { insertion, snippet } from "../lib/policy_snippet.js";
import { pause } from "../lib/poll.js";
import { follow, inWords } from "../lib/rollout.js";
import { href } from "../lib/router.js";
import { nodeStates } from "./api.js";

export const page = { title: "Edit an API", show };

const YAML = "application/yaml";
const QUIET_MS = 500;

/** @typedef {{name: string | null, text: string, revision: number | null, policies: any[]}} Start `name`: null for a new API */

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, params, signal) {
  const name = params.name ?? null;
  const [{ text, revision }, { policies }] = await Promise.all([
    name === null ? template(signal) : read(name, signal),
    getAll("/v1/policies", { signal }),
  ]);
  new Editor(root, { name, text, revision, policies }, signal).begin();
}

/** @param {string} name @param {AbortSignal} signal */
async function read(name, signal) {
  const answer = await request("GET", pathOf(name), undefined, { accept: YAML, signal });
  return { text: await answer.text(), revision: Number((answer.headers.get("etag") ?? "").replaceAll('"', "")) };
}

/** @param {AbortSignal} signal */
async function template(signal) {
  const { apis } = await getAll("/v1/apis", { signal });
  const taken = new Set(apis.flatMap((/** @type {any} */ { metadata, spec }) => [metadata.name, spec.context]));
  let name = "my-api";
  for (let number = 2; taken.has(name) || taken.has(`/${name}`); number += 1) name = `my-api-${number}`;
  const text = `apiVersion: gatewright.dev/v1
kind: Api
metadata:
  name: ${name}
spec:
  displayName: My API
  version: v1
  context: /${name}                          # the prefix of all its paths
  upstream:
    main:
      url: http://upstream.example:8080      # the path after the context is appended
  policies: []                               # of all operations, before their own
  operations:
    - method: GET
      path: /items/{id}                      # {id} is one segment
    - method: "*"
      path: /*                               # everything else
`;
  return { text, revision: null };
}

/** @param {string} name */
function pathOf(name) {
  return `/v1/apis/${encodeURIComponent(name)}`;
}

class Editor {
  /** @param {HTMLElement} root @param {Start} start @param {AbortSignal} signal */
  constructor(root, start, signal) {
    this.root = root;
    this.signal = signal;
    this.name = start.name;
    this.live = start.text;
    this.revision = start.revision;
    this.policies = start.policies;
    this.checking = new AbortController();
    this.following = new AbortController();
    this.writing = false;
    this.refused = false; // the controller's last verdict on the text
    this.theirs = 0; // the revision of another author that is shown
    this.code = new CodeArea({ id: "editor-text", label: "The API as YAML", describedBy: "editor-keys", text: start.text });
    this.head = el("div");
    this.message = el("p", { role: "status", class: "editor-message" });
    this.kept = el("div");
    this.conflict = el("div");
    this.mistakes = el("div");
    this.change = el("div");
    this.rollout = el("div");
  }

  begin() {
    replace(this.root, this.head, this.kept, this.conflict, this.message, el(
      "div", { class: "editor" },
      el("div", { class: "editor-text" }, this.code.element, el("p", { id: "editor-keys", class: "quiet" }, KEYS), this.#insert()),
      el("div", { class: "editor-side" }, this.rollout, this.mistakes, this.change),
    ));
    this.#drawHead();
    this.#restore();
    this.code.area.addEventListener("input", () => this.#changed());
    window.addEventListener("beforeunload", (event) => this.dirty && event.preventDefault(), { signal: this.signal });
    window.addEventListener("pagehide", () => this.#keep(), { signal: this.signal });
    this.signal.addEventListener("abort", () => this.#keep());
    this.check();
  }

  get dirty() {
    return this.code.text !== this.live;
  }

  #drawHead() {
    const view = this.name !== null && el("a", { class: "button", href: href(["apis", this.name]) }, "Back to the API");
    const apply = el("button", { type: "button", id: "editor-apply", class: "primary", "aria-disabled": String(this.refused), onclick: () => this.apply() }, "Apply");
    redraw(this.head, heading(this.name === null ? "New API" : `Edit ${this.name}`, view, apply));
    document.title = `${this.name === null ? "New API" : `Edit ${this.name}`} · Gatewright Inspector`;
  }

  // ---------------------------------------------------------------- texts that are not applied yet

  #keep() {
    if (this.dirty) keep(this.name, { text: this.code.text, revision: this.revision });
    else forget(this.name);
  }

  /** Restores a draft that was not applied. */
  #restore() {
    const draft = draftOf(this.name);
    if (!draft || draft.text === this.live) return;
    const discard = () => {
      this.code.replaceAll(this.live);
      replace(this.kept);
    };
    const liveRevision = this.revision;
    this.code.area.value = draft.text;
    this.code.mark([]);
    if (this.name !== null) this.revision = draft.revision;
    replace(this.kept, notice(
      "info", el("p", null, "This is your draft: it was not applied."),
      el("button", { type: "button", onclick: discard }, "Discard it"),
    ));
    if (this.revision !== liveRevision) this.#showConflict();
  }

  #changed() {
    this.#setRefused(false); // not known yet
    this.checking.abort();
    this.checking = new AbortController();
    const { signal } = this.checking;
    pause(QUIET_MS, AbortSignal.any([this.signal, signal])).then(() => {
      if (signal.aborted || this.signal.aborted) return;
      this.#keep();
      this.check();
    });
  }

  // ---------------------------------------------------------------- the controller's checks

  /** Asks what a write would do; asks again while the controller is away or refuses the token. */
  async check() {
    this.checking.abort();
    this.checking = new AbortController();
    const signal = AbortSignal.any([this.signal, this.checking.signal]);
    try {
      this.#valid((await this.#send("?dry_run=true", {}, signal)).status);
    } catch (error) {
      if (signal.aborted) return;
      this.#invalid(error);
      if (error instanceof Problem && [0, 401].includes(error.status)) {
        await pause(2000, signal);
        if (!signal.aborted) this.check();
      }
    }
  }

  /** @param {string} query @param {Record<string, string>} headers @param {AbortSignal} [signal] @returns {Promise<any>} */
  #send(query, headers, signal) {
    const [method, path] = this.name === null ? ["POST", "/v1/apis"] : ["PUT", pathOf(this.name)];
    return send(method, `${path}${query}`, this.code.text, { contentType: YAML, headers, signal });
  }

  /** @param {any} status of a dry run */
  #valid({ change, policies }) {
    this.#setRefused(false);
    this.code.mark([]);
    replace(this.mistakes);
    const { added, removed } = countOf(change.diff);
    const messages = {
      created: "Valid. The API would be created.",
      unchanged: "Valid. Nothing would change.",
      changed: `Valid. ${lines(added)} would be added, ${removed} removed.`,
    };
    this.#setMessage(messages[/** @type {keyof typeof messages} */ (change.kind)]);
    replace(
      this.change,
      change.kind !== "unchanged" && el("h2", null, this.name === null ? "What would be created" : "Changes to the live version"),
      change.moved.map((/** @type {any} */ move) =>
        el("p", null, el("code", null, move.field), `: ${move.policy} would move from ${move.before} to ${move.after}.`),
      ),
      change.diff && diffView(change.diff, "What would change"),
      policies.length > 0 && el("h2", null, "Versions of policies"),
      policies.length > 0 && el("ul", null, versions(policies).map((version) => el("li", null, version))),
    );
    if (this.name !== null && change.revision !== this.revision) this.#showConflict();
  }

  /** Disables Apply with aria-disabled, not `disabled`, so that the button keeps the focus. @param {boolean} refused */
  #setRefused(refused) {
    this.refused = refused;
    this.head.querySelector("#editor-apply")?.setAttribute("aria-disabled", String(refused));
  }

  /** @param {unknown} error @param {string} [prefix] that says what failed */
  #invalid(error, prefix = "") {
    if (!(error instanceof Problem)) throw error;
    const { status, detail } = error;
    const mistakes = error.mistakes.toSorted((first, other) => (first.line ?? 0) - (other.line ?? 0));
    if (status === 404 && this.name !== null) return this.#showDeleted();
    if (status === 401) return this.#setMessage(`${prefix}You are not signed in; your text is kept.`);
    if (status === 0) return this.#setMessage(`${prefix}The controller does not answer; your text is kept, and checked as soon as it answers.`);
    this.#setRefused([400, 422].includes(status));
    this.code.mark(mistakes.flatMap(({ line }) => (line ? [line] : [])));
    replace(this.change);
    if (!mistakes.length) {
      replace(this.mistakes, problem(error));
      return this.#setMessage(prefix || "The controller would refuse this text.");
    }
    const [first] = mistakes;
    const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
    this.#setMessage(`${prefix}${count}. ${first.line ? `Line ${first.line}: ` : ""}${first.field} ${first.message}`);
    replace(
      this.mistakes,
      el("h2", null, count),
      status === 400 && el("p", null, `${detail}:`),
      el("ul", { class: "mistakes" }, mistakes.map((mistake) => this.#mistake(mistake))),
    );
  }

  /** @param {import("../lib/api.js").Mistake} mistake */
  #mistake({ field, message, line }) {
    const to = line && el("button", { type: "button", class: "line", onclick: () => this.code.goTo(line) }, `Line ${line}`);
    return el("li", null, to, to ? " " : null, field && el("code", null, field), field ? ": " : null, message);
  }

  /** @param {string} text */
  #setMessage(text) {
    if (this.message.textContent !== text) replace(this.message, text);
  }

  // ---------------------------------------------------------------- apply

  async apply() {
    if (this.writing || this.refused) return;
    this.writing = true;
    this.checking.abort();
    this.#setMessage("Writing …");
    const written = this.code.text;
    /** @type {Record<string, string>} */
    const headers = this.name === null ? {} : { "if-match": `"${this.revision}"` };
    try {
      await this.#applied(await this.#send("", headers), written);
    } catch (error) {
      if (this.signal.aborted) return;
      if (error instanceof Problem && error.status === 412) await this.#showConflict();
      else this.#invalid(error, "Not applied. ");
    } finally {
      this.writing = false;
    }
  }

  /** @param {any} api as it was written @param {string} written the text that was sent */
  async #applied({ metadata, status }, written) {
    forget(this.name);
    const isNew = this.name === null;
    this.name = /** @type {string} */ (metadata.name);
    this.revision = status.revision;
    this.live = written;
    if (this.signal.aborted) return;
    replace(this.kept);
    replace(this.conflict);
    if (isNew) history.replaceState(null, "", href(["apis", this.name, "edit"]));
    this.#drawHead();
    this.#follow();
    const stored = await read(this.name, this.signal);
    if (stored.revision !== this.revision) return this.check();
    if (!this.dirty) this.code.replaceAll(stored.text);
    this.live = stored.text;
    this.check();
  }

  /** Shows the rollout until each node has answered. */
  async #follow() {
    this.following.abort();
    this.following = new AbortController();
    const name = /** @type {string} */ (this.name);
    const table = el("div");
    const words = el("p", { role: "status" });
    replace(this.rollout, el("h2", null, `Revision ${this.revision} on the nodes`), words, table);
    await follow(pathOf(name), (status) => {
      if (words.textContent !== inWords(status)) replace(words, inWords(status));
      redraw(table, nodeStates(status.nodes));
    }, AbortSignal.any([this.signal, this.following.signal])).catch((error) => replace(table, problem(error)));
  }

  // ---------------------------------------------------------------- other authors

  /** Another author has written meanwhile: shows both texts, and the user chooses one. */
  async #showConflict() {
    const name = /** @type {string} */ (this.name);
    try {
      const theirs = await read(name, this.signal);
      const { updatedAt } = await get(`${pathOf(name)}/status`, { signal: this.signal });
      if (theirs.revision !== this.revision) this.#offerVersions(name, theirs, updatedAt);
    } catch (error) {
      if (!this.signal.aborted) this.#invalid(error);
    }
  }

  /** @param {string} name @param {{text: string, revision: number}} theirs the live version @param {string} updatedAt */
  #offerVersions(name, theirs, updatedAt) {
    const goOn = () => {
      this.live = theirs.text;
      this.revision = theirs.revision;
      replace(this.conflict);
      this.#keep();
      this.code.area.focus();
      this.check();
    };
    const take = () => {
      this.code.replaceAll(theirs.text);
      replace(this.kept);
      goOn();
    };
    this.#setMessage("Not applied: another author has changed this API.");
    if (this.conflict.hasChildNodes() && this.theirs === theirs.revision) return;
    this.theirs = theirs.revision;
    replace(this.conflict, notice(
      "bad",
      el("h2", null, `Another author has changed ${name}`),
      el("p", null, `Revision ${theirs.revision}, written ${dateTime(updatedAt)}, is live; your text is based on revision ${this.revision}. The changes that your text would make to the live version are listed beside it.`),
      el("details", { open: true }, el("summary", null, "Live version"), el("pre", { tabindex: 0, "aria-label": "Live version" }, theirs.text)),
      el(
        "div", { class: "form-row" },
        el("button", { type: "button", onclick: goOn }, "Keep my text"),
        el("button", { type: "button", onclick: take }, "Take the live version"),
      ),
    ));
  }

  #showDeleted() {
    const name = this.name;
    const createAgain = () => {
      forget(name);
      this.name = null;
      this.revision = null;
      this.live = "";
      replace(this.conflict);
      history.replaceState(null, "", href(["apis", "new"]));
      this.#drawHead();
      this.#keep();
      this.code.area.focus();
      this.check();
    };
    this.#setMessage(`${name} was deleted.`);
    replace(this.conflict, notice(
      "bad", el("p", null, `${name} was deleted by another author. Your text is kept.`),
      el("button", { type: "button", onclick: createAgain }, "Create it again"),
    ));
  }

  // ---------------------------------------------------------------- policies to insert

  #insert() {
    const options = this.policies.map((policy, index) => el("option", { value: index }, `${policy.name} ${policy.version}`));
    const select = el("select", { id: "editor-policy" }, options);
    const about = el("p", { class: "quiet" });
    const chosen = () => this.policies[Number(select.value)];
    const describe = () => replace(about, chosen()?.description || chosen()?.displayName);
    select.addEventListener("change", describe);
    describe();
    const add = () => {
      const { from, to, text, line } = insertion(this.code.text, this.code.line, snippet(chosen()));
      this.code.type(from, to, text);
      this.code.goTo(line);
    };
    if (!options.length) return el("p", { class: "quiet" }, "This build has no policy to attach.");
    return el(
      "details", { class: "insert" },
      el("summary", null, "Insert a policy"),
      el(
        "div", { class: "form-row" },
        el("div", { class: "field" }, el("label", { for: "editor-policy" }, "Policy"), select),
        el("button", { type: "button", onclick: add }, "Insert"),
      ),
      about,
      el("p", { class: "quiet" }, "Inserts the policy with its required parameters, after the policies at the caret or above it. The page of a policy lists all of its parameters."),
    );
  }
}

/** @param {number} count */
function lines(count) {
  return count === 1 ? "1 line" : `${count} lines`;
}

/** @param {any[]} policies of a dry run */
function versions(policies) {
  const texts = policies.map(({ name, asked, version }) => (asked === version ? `${name} ${version}` : `${name} ${version}, requested as ${asked}`));
  return [...new Set(texts)];
}
