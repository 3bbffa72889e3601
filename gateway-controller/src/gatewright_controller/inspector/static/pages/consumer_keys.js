// The API keys of a consumer: when each was made and by whom. Their texts are with the clients alone.

import { get, send } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { badge, empty, problem, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { redraw } from "../lib/live.js";
import { ask } from "../lib/question.js";
import { visible } from "../lib/visible_text.js";

/** @typedef {{name: string, createdAt: string, createdBy: string, expiresAt?: string, expired: boolean}} Key */

/** @param {string} path of the consumer @param {AbortSignal} signal */
export function consumerKeys(path, signal) {
  const list = el("div", null, el("p", { class: "quiet" }, "Loading …"));
  const draw = async () => {
    try {
      /** @type {{keys: Key[]}} */
      const { keys } = await get(`${path}/keys`, { signal });
      redraw(list, keys.length ? keyTable(keys, path, draw) : empty("It has no key."));
    } catch (error) {
      if (!signal.aborted) replace(list, problem(error));
    }
  };
  draw();
  const make = may("consumers:write") && ["; ", el("code", null, "gatewright consumer key create"), " makes one"];
  return [el("h2", null, "API keys"), el("p", { class: "quiet" }, "The controller keeps no key's text", make, "."), list];
}

/** @param {Key[]} keys @param {string} path @param {() => void} deleted */
function keyTable(keys, path, deleted) {
  const isWriter = may("consumers:write");
  const columns = ["Key", "Created", "By", "Expires", ...(isWriter ? ["Delete"] : [])];
  const rows = keys.map((key) => [
    key.name,
    el("span", { class: "when" }, dateTime(key.createdAt)),
    el("bdi", null, visible(key.createdBy)),
    key.expiresAt ? [el("span", { class: "when" }, dateTime(key.expiresAt)), key.expired && [" ", badge("expired", "bad")]] : "never",
    ...(isWriter ? [deleteButton(key.name, path, deleted)] : []),
  ]);
  return table("API keys", columns, rows);
}

/** @param {string} name @param {string} path @param {() => void} deleted */
function deleteButton(name, path, deleted) {
  const confirm = () =>
    ask(`Delete the key ${name}?`, "Requests with it are refused from then on.", "Delete", async () => {
      await send("DELETE", `${path}/keys/${encodeURIComponent(name)}`);
      deleted();
    });
  return el("button", { type: "button", class: "danger", "aria-label": `Delete … ${name}`, onclick: confirm }, "Delete\u00a0…");
}
