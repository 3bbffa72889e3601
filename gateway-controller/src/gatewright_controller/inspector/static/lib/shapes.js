// What the pages of the management API show of types and shapes.

import { el } from "./dom.js";
import { href } from "./router.js";

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {import("./openapi.js").Part} Part */

/** A type in words, each shape a link to its page. @param {Part[]} type @returns {Child} */
export function typeLinks(type) {
  return type.map((part) => (typeof part === "string" ? part : el("a", { href: href(["management", "shapes", part.shape]) }, part.shape)));
}

/** @param {string[]} constraints @returns {Child} */
export function constraintList(constraints) {
  return constraints.length ? el("ul", null, constraints.map((constraint) => el("li", null, constraint))) : null;
}

/** The example of the first shape in a type that has one. @param {any} document @param {Part[]} type @returns {Child} */
export function exampleOf(document, type) {
  const names = type.flatMap((part) => (typeof part === "string" ? [] : [part.shape]));
  const example = names.map((name) => document.components.schemas[name].examples?.[0]).find(Boolean);
  return example ? [el("h2", null, "Example"), el("pre", { tabindex: 0 }, JSON.stringify(example, null, 2))] : null;
}

/** A text of the document, its code between backticks. @param {string} text @returns {Child} */
export function prose(text) {
  return text.split("`").map((part, at) => (at % 2 ? el("code", null, part) : part));
}
