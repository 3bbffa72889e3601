import assert from "node:assert/strict";
import test from "node:test";
import { rowsOf } from "#lib/schema.js";

test("a schema has a row for each parameter", () => {
  const rows = rowsOf({
    type: "object",
    required: ["quotas"],
    $defs: {
      key: { type: "string", writeOnly: true, minLength: 8 },
      tree: { type: "object", properties: { children: { $ref: "#/$defs/trees" } } },
      trees: { type: "array", items: { $ref: "#/$defs/tree" } },
    },
    properties: {
      quotas: {
        type: "object", description: "For each client.", minProperties: 1,
        additionalProperties: {
          type: "object", required: ["limit"],
          properties: {
            limit: { type: "integer", minimum: 1, maximum: 100, default: 10, examples: [5, 50] },
            unit: { enum: ["s", "min", null] },
          },
        },
      },
      keys: { type: "array", maxItems: 1, items: { $ref: "#/$defs/key", pattern: "^k" } },
      tree: { $ref: "#/$defs/tree" },
      either: { oneOf: [{ type: "string" }, { type: "object", properties: { from: { const: "file" } } }] },
    },
  });
  const shown = rows.map((row) => [row.path, row.type, row.required, row.secret, row.constraints, row.default]);
  assert.deepEqual(shown, [
    ["quotas", "object", true, false, ["at least 1 member"], ""],
    ["quotas.*", "object", false, false, [], ""],
    ["quotas.*.limit", "integer", true, false, ["at least 1", "at most 100"], "10"],
    ["quotas.*.unit", "string or null", false, false, ['one of "s", "min", null'], ""],
    ["keys", "list of string", false, false, ["at most 1 item"], ""],
    ["keys[]", "string", false, true, ["matches ^k", "at least 8 characters"], ""],
    ["tree", "object", false, false, [], ""],
    ["tree.children", "list of object", false, false, [], ""],
    ["either", "string or object", false, false, [], ""],
    ["either.from", "string", false, false, ['always "file"'], ""],
  ]);
  assert.deepEqual([rows[0].description, rows[2].examples], ["For each client.", ["5", "50"]]);
});

for (const schema of [{}, { type: "object" }, { properties: {} }, { $ref: "#/$defs/none" }, { $ref: "#" }]) {
  test(`a schema without values has no rows: ${JSON.stringify(schema)}`, () => {
    assert.deepEqual(rowsOf(schema), []);
  });
}
