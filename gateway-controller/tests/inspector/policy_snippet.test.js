import assert from "node:assert/strict";
import test from "node:test";
import { snippet } from "#lib/policy_snippet.js";

const LIMIT = { type: "object", required: ["amount"], properties: { amount: { type: "integer", minimum: 5 }, rate: { type: "number" } } };

/** @param {object} limit */
function inserted(limit) {
  const parameters = { required: ["limits"], properties: { limits: { type: "array", minItems: 1, items: limit } }, $defs: { limit: LIMIT } };
  return snippet({ name: "limit", version: "v1.2.3", parameters }).join("\n");
}

test("a parameter that another place of the schema describes has the type from there", () => {
  assert.equal(inserted({ $ref: "#/$defs/limit" }), "- name: limit\n  version: v1\n  params:\n    limits:\n      - amount: 5");
});

test("of several forms, what the first one requires is there", () => {
  const limit = { type: "object", properties: LIMIT.properties, oneOf: [{ required: ["rate"] }, { required: ["amount"] }] };
  assert.equal(inserted(limit), "- name: limit\n  version: v1\n  params:\n    limits:\n      - rate: 1");
});
