// The management API: its operations and shapes, from the OpenAPI document that the controller serves.

import { get } from "../lib/api.js";
import { badge, empty, heading, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { operationsOf } from "../lib/openapi.js";
import { patch } from "../lib/patch.js";
import { href } from "../lib/router.js";
import { fits } from "../lib/search.js";
import { prose } from "../lib/shapes.js";

export const page = { title: "Management API", show };

const DOCUMENT = "/v1/openapi.json";

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, _, signal) {
  const document = await get(DOCUMENT, { signal });
  const operations = operationsOf(document);
  const named = Object.entries(document.components.schemas).map(([name, { description = "" }]) => ({ name, description }));
  const search = el("input", { type: "search", id: "operation-search" });
  const list = el("div");
  replace(
    root,
    heading("Management API", el("a", { class: "button", href: DOCUMENT, download: "gatewright-openapi.json" }, "OpenAPI document")),
    document.info.description.split("\n").filter(Boolean).map((/** @type {string} */ line) => el("p", null, prose(line))),
    el("div", { class: "form-row" }, el("div", { class: "field" }, el("label", { for: "operation-search" }, "Find"), search)),
    list,
  );
  const draw = () => {
    const found = operations.filter(({ method, path, summary, right }) => fits(`${method} ${path} ${summary} ${right}`, search.value));
    const shapes = named.filter(({ name, description }) => fits(`${name} ${description}`, search.value));
    const tags = [...new Set(found.map(({ tag }) => tag))];
    const sections = tags.map((tag) => operationTable(tag, found.filter((operation) => operation.tag === tag)));
    patch(list, sections, shapes.length ? shapeTable(shapes) : null, tags.length || shapes.length ? null : empty("No operation and no shape matches."));
  };
  search.addEventListener("input", draw, { signal });
  draw();
}

/** @param {string} tag @param {import("../lib/openapi.js").Operation[]} operations */
function operationTable(tag, operations) {
  const rows = operations.map(({ id, method, path, summary, right }) => [
    el("a", { href: href(["management", "operations", id]) }, el("code", null, `${method} ${path}`)),
    prose(summary),
    right ? badge(right) : el("span", { class: "quiet" }, "no token"),
  ]);
  return [el("h2", null, tag), table(tag, ["Operation", "What it does", "Right"], rows)];
}

/** @param {{name: string, description: string}[]} shapes */
function shapeTable(shapes) {
  const rows = shapes.map(({ name, description }) => [el("a", { href: href(["management", "shapes", name]) }, name), prose(description)]);
  return [el("h2", null, "Shapes"), table("Shapes", ["Shape", "What it is"], rows)];
}
