// New content in the place of old, where only what differs is touched: what is focused, selected, scrolled or open stays so.

/** @typedef {import("./dom.js").Child} Child */

import { el } from "./dom.js";

/**
 * As `replace` of dom.js. An element stays where one of the same kind stands in its place; its listeners are then those
 * of before. `data-keep` on an element: its content is its own business.
 * @param {Element} parent
 * @param {...Child} children
 */
export function patch(parent, ...children) {
  reconcile(parent, el("div", null, ...children));
}

/** @param {Element} old @param {Element} wanted */
function reconcile(old, wanted) {
  const now = [...wanted.childNodes];
  for (const [index, node] of now.entries()) {
    const before = old.childNodes[index];
    if (!before) old.append(node);
    else if (!alike(before, node)) before.replaceWith(node);
    else if (node instanceof Element) update(/** @type {Element} */ (before), node);
    else if (before.nodeValue !== node.nodeValue) before.nodeValue = node.nodeValue;
  }
  while (old.childNodes.length > now.length) old.lastChild?.remove();
}

/** @param {Node} old @param {Node} wanted */
function alike(old, wanted) {
  if (old.nodeName !== wanted.nodeName) return false;
  if (!(old instanceof Element && wanted instanceof Element)) return true;
  return old.id === wanted.id && old.getAttribute("data-keep") === wanted.getAttribute("data-keep");
}

/** @param {Element} old @param {Element} wanted */
function update(old, wanted) {
  if (wanted.hasAttribute("data-keep")) {
    if (old !== wanted && wanted.childNodes.length) old.replaceWith(wanted);
    return;
  }
  for (const { name } of [...old.attributes]) {
    const own = name === "open" && old.nodeName === "DETAILS"; // a reader's choice
    if (!wanted.hasAttribute(name) && !own) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  reconcile(old, wanted);
}
