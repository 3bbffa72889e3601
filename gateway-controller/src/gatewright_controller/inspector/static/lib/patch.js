// Replaces content and touches only the nodes that differ: focus, selection, scrolling and open details stay.

/** @typedef {import("./dom.js").Child} Child */

import { el } from "./dom.js";

/**
 * As `replace` of dom.js. An element stays where one of the same kind stands in its place; its listeners are then those
 * of before. The content of an element with `data-keep` is left alone.
 * @param {Element} parent
 * @param {...Child} children
 */
export function patch(parent, ...children) {
  reconcile(parent, el("div", null, ...children));
}

/** @param {Element} old @param {Element} next */
function reconcile(old, next) {
  const nodes = [...next.childNodes];
  for (const [index, node] of nodes.entries()) {
    const before = old.childNodes[index];
    if (!before) old.append(node);
    else if (!alike(before, node)) before.replaceWith(node);
    else if (node instanceof Element) update(/** @type {Element} */ (before), node);
    else if (before.nodeValue !== node.nodeValue) before.nodeValue = node.nodeValue;
  }
  while (old.childNodes.length > nodes.length) old.lastChild?.remove();
}

/** @param {Node} old @param {Node} next */
function alike(old, next) {
  if (old.nodeName !== next.nodeName) return false;
  if (!(old instanceof Element && next instanceof Element)) return true;
  return old.id === next.id && old.getAttribute("data-keep") === next.getAttribute("data-keep");
}

/** @param {Element} old @param {Element} next */
function update(old, next) {
  if (next.hasAttribute("data-keep")) {
    if (old !== next && next.childNodes.length) old.replaceWith(next);
    return;
  }
  for (const { name } of [...old.attributes]) {
    const own = name === "open" && old.nodeName === "DETAILS"; // a reader's choice
    if (!next.hasAttribute(name) && !own) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  reconcile(old, next);
}
