// The form of the filter of exchanges.

import { getAll } from "../lib/api.js";
import { el, replace } from "../lib/dom.js";
import { MEMBERS } from "../lib/exchange/filter.js";

/**
 * @typedef {import("../lib/exchange/filter.js").Filter} Filter
 * @typedef {import("../lib/api.js").Mistake} Mistake
 * @typedef {{element: HTMLElement, filter: () => Filter, mistakes: (mistakes: Mistake[]) => Mistake[]}} FilterForm
 *   mistakes: shows those of its fields, and returns the others
 */

/** @type {Record<string, [label: string, hint: string, example: string]>} */
const FIELDS = {
  api: ["API", "its name", "orders"],
  policy: ["Policy", "a policy of the chain, by name or name:version", "jwt-auth"],
  path: ["Path begins with", "as the client sent it, without the query", "/orders"],
  status: ["Status", "one or several", "5xx, 404"],
  operation: ["Operation", "method and path", "GET /{id}"],
  header: ["Request header", "a name, or name=value", "x-tenant=blue"],
  client: ["Client", "its address, with the port or without", "10.1.2.3"],
  shadow: ["Shadow", "the outcome of a shadow attachment", "different"],
  id: ["Request id", "of a past or a future request", ""],
  sample: ["Share", "of the exchanges that match, from 0 to 1", "0.01"],
};
const FIRST = ["api", "policy", "path", "status"];
const MORE = ["operation", "header", "client", "shadow", "id", "sample"];

/**
 * @param {Filter} initial
 * @param {() => void} changed  called when the filter has changed
 * @param {AbortSignal} signal
 * @returns {FilterForm}
 */
export function filterForm(initial, changed, signal) {
  const fields = new Map([...FIRST, ...MORE].map((member) => [member, field(member, initial[member] ?? "")]));
  const errors = el("input", { type: "checkbox", name: "errors", checked: initial.errors === "true" });
  const more = el(
    "details", { open: MORE.some((member) => initial[member]) },
    el("summary", null, "More filters"), el("div", { class: "form-row" }, MORE.map((member) => fields.get(member)?.element)),
  );
  const form = el(
    "form", { role: "search", "aria-label": "Which exchanges" },
    el(
      "div", { class: "form-row" },
      el("label", { class: "errors-only" }, errors, "Errors only"),
      FIRST.map((member) => fields.get(member)?.element),
      el("button", { type: "button", onclick: () => clear() }, "All exchanges"),
    ),
    more, el("button", { type: "submit", class: "unseen", tabindex: -1 }, "Apply"),
  );
  let last = JSON.stringify(initial);
  const filter = () => valuesOf(fields, errors);
  const apply = () => {
    const current = JSON.stringify(filter());
    if (current === last) return;
    last = current;
    changed();
  };
  const clear = () => {
    for (const { input } of fields.values()) input.value = "";
    errors.checked = false;
    apply();
  };
  form.addEventListener("change", apply);
  form.addEventListener("input", (event) => isChosen(event) && apply());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  suggest(fields, signal);
  const element = folded(form, Object.keys(initial).length > 0, signal);
  const mistakes = (/** @type {Mistake[]} */ all) => {
    if (all.length) element.open = true;
    return shownAtFields(fields, more, all);
  };
  return { element, filter, mistakes };
}

/**
 * On a narrow page the form would be the whole first screen: it is folded there, unless it says something.
 * @param {HTMLFormElement} form @param {boolean} filled @param {AbortSignal} signal
 */
function folded(form, filled, signal) {
  const narrow = matchMedia("(max-width: 40rem)");
  const element = el("details", { class: "filter card" }, el("summary", null, "Filters"), form);
  const fold = () => {
    element.open = filled || !narrow.matches;
  };
  narrow.addEventListener("change", fold, { signal });
  fold();
  return element;
}

/** From a list, rather than written letter by letter. @param {Event} event */
function isChosen(event) {
  return !(event instanceof InputEvent) || event.inputType === "insertReplacementText";
}

/** @typedef {ReturnType<typeof field>} Field */

/** @param {string} member @param {string} value */
function field(member, value) {
  const [label, hint, example] = FIELDS[member];
  const id = `filter-${member}`;
  const wrong = el("span", { class: "wrong", id: `${id}-wrong` });
  const list = el("datalist", { id: `${id}-list` });
  const input = el("input", {
    id, name: member, value, list: list.id, placeholder: example, title: hint, autocomplete: "off", spellcheck: "false",
    autocapitalize: "none", "aria-describedby": wrong.id,
  });
  return { input, list, wrong, element: el("div", { class: "field" }, el("label", { for: id }, label), input, list, wrong) };
}

/** @param {Map<string, Field>} fields @param {HTMLInputElement} errors @returns {Filter} */
function valuesOf(fields, errors) {
  /** @type {Filter} */
  const filter = errors.checked ? { errors: "true" } : {};
  for (const member of MEMBERS) {
    const text = fields.get(member)?.input.value.trim();
    if (text) filter[member] = text;
  }
  return filter;
}

/** @param {Map<string, Field>} fields @param {HTMLDetailsElement} more @param {Mistake[]} mistakes */
function shownAtFields(fields, more, mistakes) {
  const others = [];
  for (const { input, wrong } of fields.values()) {
    replace(wrong);
    input.removeAttribute("aria-invalid");
  }
  for (const mistake of mistakes) {
    const member = mistake.field.replace(/^filter\./, "").split(/[.[]/)[0];
    const field = fields.get(member);
    if (!field) {
      others.push(mistake);
      continue;
    }
    field.wrong.append(field.wrong.textContent ? "; " : "", mistake.message);
    field.input.setAttribute("aria-invalid", "true");
    if (MORE.includes(member)) more.open = true;
  }
  return others;
}

/** Suggests names that exist. If the controller refuses a list, it suggests none of it. @param {Map<string, Field>} fields @param {AbortSignal} signal */
async function suggest(fields, signal) {
  const [{ apis }, { policies }] = await Promise.all([
    getAll("/v1/apis", { signal }).catch(() => ({ apis: [] })),
    getAll("/v1/policies", { signal }).catch(() => ({ policies: [] })),
  ]);
  const names = policies.flatMap((/** @type {any} */ policy) => [policy.name, `${policy.name}:${policy.version}`]);
  const operations = apis.flatMap((/** @type {any} */ api) => operationsOf(api));
  suggested(fields.get("api"), apis.map((/** @type {any} */ api) => api.metadata?.name));
  suggested(fields.get("policy"), names);
  suggested(fields.get("operation"), operations);
  suggested(fields.get("shadow"), ["different", "same", "failed", "skipped"]);
  suggested(fields.get("status"), ["4xx", "5xx", "401", "403", "404", "429", "500", "503", "504"]);
}

/** @param {any} api */
function operationsOf(api) {
  return (api.spec?.operations ?? []).map((/** @type {any} */ operation) => `${operation.method} ${operation.path}`);
}

/** @param {Field | undefined} field @param {string[]} values */
function suggested(field, values) {
  const options = [...new Set(values)].filter(Boolean).sort().map((value) => el("option", { value }));
  if (field) replace(field.list, options);
}
