// The form of a new token.

import { send } from "../lib/api.js";
import { notice, problem } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { labelMistake, wantedToken } from "../lib/tokens.js";

/** @typedef {import("../lib/tokens.js").TokenForm} TokenForm */

const ROLES = [
  ["viewer", "viewer: sees APIs, policies and nodes"],
  ["publisher", "publisher: also writes APIs, sees exchanges and sends requests"],
  ["admin", "admin: everything, for all APIs"],
];
/** @type {[name: "names" | "labels" | "hosts" | "contexts", label: string, example: string][]} */
const BOUNDS = [
  ["names", "Names", "orders-*, payments"],
  ["labels", "Labels, all of them", "team=a"],
  ["hosts", "Hosts", "*.shop.example"],
  ["contexts", "Contexts, with all below", "/payments"],
];

/**
 * @param {AbortSignal} signal
 * @param {(token: any) => Promise<void>} created called with the answer, which has the token's text
 */
export function tokenForm(signal, created) {
  const message = el("div");
  const name = input("name", { required: true, placeholder: "ann" });
  const days = input("days", { type: "number", min: 1, placeholder: "for ever" });
  const role = el("select", { id: "token-role", name: "role" }, ROLES.map(([value, text]) => el("option", { value }, text)));
  const form = el(
    "form", { class: "token-form" },
    el("div", { class: "form-row" }, field("Name", name), field("Role", role), field("Days until it expires", days)),
    el(
      "fieldset", null, el("legend", null, "For these APIs alone"),
      el("p", { class: "quiet" }, "An API has to fit each field that is filled in. Leave all of them empty for every API."),
      el("div", { class: "form-row" }, BOUNDS.map(([bound, label, example]) => field(label, input(bound, { placeholder: example })))),
    ),
    message,
    el("button", { type: "submit", class: "primary" }, "Create"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wanted = /** @type {TokenForm} */ (Object.fromEntries(new FormData(form)));
    const wrong = labelMistake(wanted.labels);
    if (wrong) return replace(message, notice("bad", wrong));
    try {
      const token = await send("POST", "/v1/tokens", wantedToken(wanted), { signal });
      form.reset();
      replace(message);
      await created(token);
    } catch (error) {
      if (!signal.aborted) replace(message, problem(error));
    }
  });
  return el("details", { class: "card" }, el("summary", null, "New token"), form);
}

/** @param {string} name @param {import("../lib/dom.js").Attributes} attributes */
function input(name, attributes) {
  return el("input", { id: `token-${name}`, name, autocomplete: "off", spellcheck: "false", autocapitalize: "none", ...attributes });
}

/** @param {string} label @param {HTMLElement} control */
function field(label, control) {
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control);
}
