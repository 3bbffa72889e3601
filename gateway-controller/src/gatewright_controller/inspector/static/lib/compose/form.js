// The form of a request: its fields, and their values as one request.

import { el, replace } from "../dom.js";
import { select } from "./target.js";

/** @typedef {import("./curl.js").Composed} Composed */
/** @typedef {import("./target.js").Listener} Listener */

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const TYPES = ["application/json", "application/x-www-form-urlencoded", "application/xml", "text/plain"];
let rows = 0;

/**
 * @param {Listener[]} listeners
 * @param {() => void} changed called after each change
 */
export function requestForm(listeners, changed) {
  const method = field("compose-method", "Method", el("input", { id: "compose-method", list: "compose-methods", value: "GET", required: true, autocomplete: "off", spellcheck: "false", size: 9 }));
  const path = field("compose-path", "Path", el("input", { id: "compose-path", value: "/", required: true, autocomplete: "off", spellcheck: "false", class: "mono" }));
  const host = field("compose-host", "Host", el("input", { id: "compose-host", autocomplete: "off", spellcheck: "false", placeholder: "the listener's own" }));
  const listener = select("compose-listener", "Listener", listeners.map(({ name, url }) => [name, `${name} (${url})`]));
  const type = field("compose-type", "Content type", el("input", { id: "compose-type", list: "compose-types", autocomplete: "off", spellcheck: "false", placeholder: "none" }));
  const body = el("textarea", { id: "compose-body", rows: 6, spellcheck: "false", class: "mono" });
  const record = el("input", { type: "checkbox", id: "compose-record" });
  const headers = headerRows(changed);
  record.checked = true;
  path.element.classList.add("grows");
  const element = el(
    "div", { class: "compose-form" },
    el("datalist", { id: "compose-methods" }, METHODS.map((value) => el("option", { value }))),
    el("datalist", { id: "compose-types" }, TYPES.map((value) => el("option", { value }))),
    el("div", { class: "form-row" }, method.element, path.element),
    el("div", { class: "form-row" }, listeners.length > 1 ? listener.element : null, host.element),
    headers.element,
    el("div", { class: "form-row" }, type.element),
    el("div", { class: "field" }, el("label", { for: "compose-body" }, "Body"), body),
    el("label", null, record, "Record the exchange, to see what each policy did"),
  );
  element.addEventListener("input", changed);
  return {
    element,
    path: path.control,
    /** @returns {Composed & {listener: string, record: boolean}} */
    read() {
      const written = headers.read();
      const named = written.some(([name]) => name.toLowerCase() === "content-type");
      const typed = type.control.value.trim();
      return {
        method: method.control.value.trim(),
        path: path.control.value.trim(),
        host: host.control.value.trim(),
        headers: typed && !named ? [...written, ["content-type", typed]] : written,
        body: body.value,
        listener: listener.control.value,
        record: record.checked,
      };
    },
    /** @param {Partial<Composed & {listener: string}>} request fields that it lacks stay as they are */
    fill(request) {
      if (request.method !== undefined) method.control.value = request.method;
      if (request.path !== undefined) path.control.value = request.path;
      if (request.host !== undefined) host.control.value = request.host;
      if (request.body !== undefined) body.value = request.body;
      if (request.listener && listeners.some(({ name }) => name === request.listener)) listener.control.value = request.listener;
      if (request.headers !== undefined) {
        const typed = request.headers.find(([name]) => name.toLowerCase() === "content-type");
        type.control.value = typed?.[1] ?? "";
        headers.fill(request.headers.filter((header) => header !== typed));
      }
      changed();
    },
  };
}

/** @param {() => void} changed */
function headerRows(changed) {
  const list = el("ul", { class: "header-rows" });
  const add = el("button", { type: "button" }, "Add a header");
  /** @param {string} name @param {string} value */
  const row = (name, value) => {
    rows += 1;
    const inputs = [
      el("input", { "aria-label": `Name of header ${rows}`, value: name, autocomplete: "off", spellcheck: "false", placeholder: "name" }),
      el("input", { "aria-label": `Value of header ${rows}`, value, autocomplete: "off", spellcheck: "false", placeholder: "value", class: "grows" }),
    ];
    const remove = el("button", { type: "button", "aria-label": `Remove header ${rows}` }, "Remove");
    const item = el("li", null, inputs, remove);
    remove.addEventListener("click", () => {
      const next = /** @type {HTMLElement | null} */ (item.nextElementSibling ?? item.previousElementSibling);
      item.remove();
      (next?.querySelector("input") ?? add).focus();
      changed();
    });
    list.append(item);
    return inputs[0];
  };
  add.addEventListener("click", () => row("", "").focus());
  return {
    element: el("fieldset", null, el("legend", null, "Headers"), list, add),
    /** @returns {[string, string][]} those that have a name */
    read: () =>
      [...list.children]
        .map((item) => [...item.querySelectorAll("input")].map(({ value }) => value.trim()))
        .filter(([name]) => name)
        .map(([name, value]) => [name, value]),
    /** @param {[string, string][]} headers */
    fill(headers) {
      replace(list);
      for (const [name, value] of headers) row(name, value);
    },
  };
}

/**
 * @template {HTMLElement} E
 * @param {string} id
 * @param {string} label
 * @param {E} control
 */
function field(id, label, control) {
  return { control, element: el("div", { class: "field" }, el("label", { for: id }, label), control) };
}
