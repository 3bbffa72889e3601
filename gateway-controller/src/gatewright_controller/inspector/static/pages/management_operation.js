// One operation of the management API: what it takes, and its answers.

import { get, Problem } from "../lib/api.js";
import { badge, empty, facts, heading, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { answersOf, contentType, operationNamed, operationsOf, parametersOf } from "../lib/openapi.js";
import { href } from "../lib/router.js";
import { constraintList, exampleOf, prose, typeLinks } from "../lib/shapes.js";

export const page = { title: "Operation", show };

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { id }, signal) {
  const document = await get("/v1/openapi.json", { signal });
  const listed = operationsOf(document).find((operation) => operation.id === id);
  if (!listed) throw new Problem(404, `no operation ${id} is in the management API; the page Management API lists them`);
  const operation = operationNamed(document, id);
  replace(
    root,
    heading(el("code", null, `${listed.method} ${listed.path}`), el("a", { class: "button", href: href(["management"]) }, "All operations")),
    el("p", null, prose(`${listed.summary}.`)),
    facts([["Right", listed.right || "none: no token is asked for"], ["Name", el("code", null, id)]]),
    el("h2", null, "Parameters"),
    parameters(operation),
    operation.requestBody ? body(document, operation.requestBody) : null,
    el("h2", null, "Answers"),
    table("Answers", ["Status", "What it means", "Content"], answersOf(document, operation).map((answer) => [
      badge(answer.status, answer.status < "300" ? "good" : "plain"),
      prose(answer.description),
      content(answer.mediaTypes, answer.type),
    ])),
  );
}

/** @param {any} operation */
function parameters(operation) {
  const found = parametersOf(operation);
  if (!found.length) return empty("It has no parameters.");
  return table("Parameters", ["Parameter", "In", "Type", "What it is"], found.map(({ name, place, type, required, description, constraints }) => [
    [el("code", null, name), required ? [" ", badge("required", "warn")] : null],
    place,
    typeLinks(type),
    [el("p", null, prose(description)), constraintList(constraints)],
  ]));
}

/** @param {any} document @param {any} requestBody */
function body(document, requestBody) {
  const type = contentType(requestBody.content);
  return [
    el("h2", null, "Body"),
    el("p", null, content(Object.keys(requestBody.content), type), requestBody.required ? "" : "; it may be left out"),
    exampleOf(document, type),
  ];
}

/** @param {string[]} mediaTypes @param {import("../lib/openapi.js").Part[]} type */
function content(mediaTypes, type) {
  if (!mediaTypes.length) return el("span", { class: "quiet" }, "none");
  return [type.length ? [typeLinks(type), " as "] : null, mediaTypes.map((name, at) => [at ? ", " : null, el("code", null, name)])];
}
