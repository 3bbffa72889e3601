// One shape of the management API: the fields of an object in a request or an answer.

import { get, Problem } from "../lib/api.js";
import { badge, empty, heading, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { fieldsOf } from "../lib/openapi.js";
import { href } from "../lib/router.js";
import { constraintList, exampleOf, prose, typeLinks } from "../lib/shapes.js";

export const page = { title: "Shape", show };

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { name }, signal) {
  const document = await get("/v1/openapi.json", { signal });
  const shape = document.components.schemas[name];
  if (!shape) throw new Problem(404, `no shape ${name} is in the management API; the page Management API lists them`);
  const rows = fieldsOf(shape).map(({ name: field, type, required, description, constraints }) => [
    [el("code", null, field), required ? [" ", badge("always", "plain")] : null],
    typeLinks(type),
    [description ? el("p", null, prose(description)) : null, constraintList(constraints)],
  ]);
  replace(
    root,
    heading(name, el("a", { class: "button", href: href(["management"]) }, "All shapes")),
    el("p", null, prose(shape.description ?? "")),
    rows.length ? table("Fields", ["Field", "Type", "What it is"], rows) : empty("Its members have no names of their own."),
    exampleOf(document, [{ shape: name }]),
  );
}
