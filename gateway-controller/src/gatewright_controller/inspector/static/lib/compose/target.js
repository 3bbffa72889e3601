// The target of a request: an operation of an API with its parameters, and the listener.

import { el, replace } from "../dom.js";

/** @typedef {{name: string, url: string, hosts: string[]}} Listener url: as a client on the node's machine has it */
/** @typedef {{method: string, path: string, label: string}} Operation path: under the context */
/** @typedef {{name: string, context: string, hosts: string[], operations: Operation[]}} ComposedApi */

/**
 * @param {any} document of GET /v1/apis
 * @returns {ComposedApi[]}
 */
export function apisOf(document) {
  return document.apis.map((/** @type {any} */ { metadata, spec }) => ({
    name: metadata.name,
    context: spec.context.replace("$version", spec.version).replace(/\/$/, ""),
    hosts: spec.hosts ?? [],
    operations: spec.operations.map((/** @type {any} */ { method, path }) => ({ method, path, label: `${method} ${path}` })),
  }));
}

/**
 * @param {any} document of GET /v1/gateway; null where there is none
 * @returns {Listener[]} those that take requests as they are
 */
export function listenersOf(document) {
  const all = document?.spec.listeners ?? [];
  return all
    .filter((/** @type {any} */ listener) => !listener.redirect && !listener.proxyProtocol)
    .map((/** @type {any} */ { name, address = "127.0.0.1", port = 8080, protocol = "http", hosts = [] }) => {
      const reachable = { "0.0.0.0": "127.0.0.1", "::": "::1" }[/** @type {string} */ (address)] ?? address;
      return { name, hosts, url: `${protocol}://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}` };
    });
}

/**
 * Selects for the API and its operation, and fields for its path parameters.
 * @param {ComposedApi[]} apis
 * @param {(chosen: {method: string, path: string, host: string}) => void} chosen called with each change
 * @returns {{element: HTMLElement, choose: (name: string) => void, missing: () => string[]}} choose: an API by its
 *   name; missing: names of parameters without a value
 */
export function operationPicker(apis, chosen) {
  const api = select("compose-api", "API", [["", "Any path"], ...apis.map(({ name }) => /** @type {[string, string]} */ ([name, name]))]);
  const operation = select("compose-operation", "Operation", []);
  const parameters = el("div", { class: "form-row" });
  const chosenApi = () => apis.find(({ name }) => name === api.control.value);
  const chosenOperation = () => chosenApi()?.operations[Number(operation.control.value)];

  const fillForm = () => {
    const [api, operation] = [chosenApi(), chosenOperation()];
    if (!api || !operation) return;
    const host = api.hosts.find((name) => !name.startsWith("*")) ?? "";
    const path = filled(api.context + (operation.path === "/" ? "" : operation.path), parameters) || "/";
    chosen({ method: operation.method === "*" ? "GET" : operation.method, path, host });
  };
  const showParameters = () => {
    const names = [...(chosenOperation()?.path.matchAll(/\{([^}]+)\}|\*$/g) ?? [])].map(([all, name]) => name ?? all);
    replace(parameters, names.map((name) => parameter(name, fillForm)));
    fillForm();
  };
  const showOperations = () => {
    const options = chosenApi()?.operations.map(({ label }, index) => option(String(index), label)) ?? [];
    replace(operation.control, options.length ? options : option("", "—"));
    operation.control.disabled = !options.length;
    showParameters();
  };
  api.control.addEventListener("change", showOperations);
  operation.control.addEventListener("change", showParameters);
  showOperations();
  return {
    element: el("div", null, el("div", { class: "form-row" }, api.element, operation.element), parameters),
    choose(name) {
      if (!apis.some((api) => api.name === name)) return;
      api.control.value = name;
      showOperations();
    },
    missing: () => [...parameters.querySelectorAll("input")].filter(({ value, name }) => !value && name !== "*").map(({ name }) => name),
  };
}

/** @param {string} name @param {() => void} changed */
function parameter(name, changed) {
  const id = `compose-parameter-${name}`;
  const input = el("input", { id, name, autocomplete: "off", spellcheck: "false", oninput: changed });
  return el("div", { class: "field" }, el("label", { for: id }, name === "*" ? "rest of the path" : `{${name}}`), input);
}

/** @param {string} template @param {HTMLElement} parameters */
function filled(template, parameters) {
  let path = template;
  for (const { name, value } of parameters.querySelectorAll("input")) {
    if (name === "*") path = path.replace(/\*$/, value.split("/").map(encodeURIComponent).join("/"));
    else if (value) path = path.replace(`{${name}}`, encodeURIComponent(value));
  }
  return path;
}

/**
 * @param {string} id
 * @param {string} label
 * @param {[string, string][]} options values and texts
 */
export function select(id, label, options) {
  const control = el("select", { id }, options.map(([value, text]) => option(value, text)));
  return { control, element: el("div", { class: "field" }, el("label", { for: id }, label), control) };
}

/** @param {string} value @param {string} text */
function option(value, text) {
  return el("option", { value }, text);
}
