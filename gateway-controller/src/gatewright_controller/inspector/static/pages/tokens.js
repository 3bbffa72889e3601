// Tokens of the management API: each with its role; new ones, and the end of old ones.

import { getAll, send } from "../lib/api.js";
import { boundOf, currentCaller } from "../lib/caller.js";
import { badge, empty, heading, notice, problem, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { redraw } from "../lib/live.js";
import { ask } from "../lib/question.js";
import { visible } from "../lib/visible_text.js";
import { tokenForm } from "./tokens_form.js";

export const page = { title: "Tokens", show };

/** @typedef {import("../lib/caller.js").Grant & {name: string, createdAt: string, createdBy: string, expiresAt?: string, expired: boolean}} Token */

const COLUMNS = ["Name", "Role", "For", "Created", "By", "Expires", "Delete"];

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, _, signal) {
  const list = el("div");
  const created = el("div", { role: "status" });
  const draw = async () => {
    /** @type {{tokens: Token[]}} */
    const { tokens } = await getAll("/v1/tokens", { signal });
    const end = (/** @type {Token} */ token) => askToDelete(token, () => draw().catch((error) => replace(list, problem(error))));
    redraw(list, tokens.length ? table("Tokens", COLUMNS, tokens.map((token) => row(token, end))) : empty("There are no tokens yet but the controller's own."));
  };
  const form = tokenForm(signal, async (token) => {
    const shown = newToken(token);
    replace(created, shown.element);
    shown.focus();
    await draw();
  });
  await draw();
  replace(
    root, heading("Tokens"),
    el("p", { class: "quiet" }, "Each person and program has a token of its own, with a role. The controller keeps no token's text."),
    created, form, list,
  );
}

/** @param {Token} token @param {(token: Token) => void} end */
function row(token, end) {
  const bound = boundOf(token);
  return [
    token.name,
    token.role,
    bound ? el("div", { class: "why" }, bound) : token.role === "node" ? "all nodes" : "all APIs",
    el("span", { class: "when" }, dateTime(token.createdAt)),
    el("bdi", null, visible(token.createdBy)),
    expiryOf(token),
    el("button", { type: "button", class: "danger", "aria-label": `Delete … ${token.name}`, onclick: () => end(token) }, "Delete\u00a0…"),
  ];
}

/** @param {Token} token */
function expiryOf({ expiresAt, expired }) {
  if (!expiresAt) return "never";
  return [el("span", { class: "when" }, dateTime(expiresAt)), expired && [" ", badge("expired", "bad")]];
}

/** @param {Token} token @param {() => void} deleted */
function askToDelete({ name }, deleted) {
  const own = currentCaller()?.actor === `token:${name}`;
  const text = `Requests with it are answered 401 from then on.${own ? " You are signed in with it." : ""}`;
  ask(`Delete the token ${name}?`, text, "Delete", async () => {
    await send("DELETE", `/v1/tokens/${encodeURIComponent(name)}`);
    deleted();
  });
}

/** The only time that its text is shown. @param {{name: string, token: string}} token */
function newToken({ name, token }) {
  const text = el("input", { id: "token-text", class: "mono", readonly: true, autocomplete: "off", spellcheck: "false" });
  text.value = token;
  const copied = el("span", { role: "status" });
  const copy = el("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    text.select();
    const done = await navigator.clipboard?.writeText(token).then(() => true, () => false);
    copied.textContent = done ? "Copied." : "This browser does not let pages copy: copy the selected text.";
  });
  const element = notice(
    "good", el("p", null, `The token ${name} is created. This is its text; it is not shown again.`),
    el("div", { class: "form-row new-token" }, el("div", { class: "field" }, el("label", { for: "token-text" }, `Token ${name}`), text), copy, copied),
  );
  return { element, focus: () => text.select() };
}
