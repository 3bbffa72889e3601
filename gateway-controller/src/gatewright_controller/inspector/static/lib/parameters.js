// The parameters of a policy, by its JSON Schema, for people.

import { badge, empty, table } from "./components.js";
import { el } from "./dom.js";
import { rowsOf } from "./schema.js";

/** @param {any} schema */
export function parameterTable(schema) {
  const rows = rowsOf(schema ?? {});
  if (!rows.length) return empty("The policy has no parameters.");
  const cells = rows.map((row) => [
    [el("code", null, row.path), row.required ? [" ", badge("required", "warn")] : null, row.secret ? [" ", badge("secret", "busy")] : null],
    row.type,
    row.default ? el("code", null, row.default) : row.required ? "" : el("span", { class: "quiet" }, "none"),
    [
      row.description ? el("p", null, row.description) : null,
      row.constraints.length ? el("ul", null, row.constraints.map((constraint) => el("li", null, constraint))) : null,
      row.examples.length ? el("p", null, "For example ", row.examples.map((example, at) => [at ? ", " : null, el("code", null, example)])) : null,
      row.secret ? el("p", { class: "quiet" }, "You can set the value, but it is never shown.") : null,
    ],
  ]);
  return el("div", { class: "parameters" }, table("Parameters", ["Parameter", "Type", "Default", "What it is"], cells));
}
