import assert from "node:assert/strict";
import test from "node:test";
import { answersOf, contentType, fieldsOf, operationNamed, operationsOf, parametersOf, typeOf } from "#lib/openapi.js";

const REFERENCE = { $ref: "#/components/schemas/Api" };
const DOCUMENT = {
  paths: {
    "/v1/apis": {
      get: {
        operationId: "listApis", summary: "The APIs", tags: ["APIs"], "x-gatewright-right": "apis:read",
        parameters: [{ name: "limit", in: "query", description: "How many.", schema: { type: "integer", minimum: 1, default: 1000 } }],
        responses: { 200: { description: "They are here.", content: { "application/json": { schema: REFERENCE } } }, 400: { $ref: "#/components/responses/Problem400" } },
      },
    },
    "/healthz": { get: { operationId: "getHealth", summary: "It answers", tags: ["The controller"], responses: { 204: { description: "Yes." } } } },
  },
  components: {
    responses: { Problem400: { description: "Bad Request", content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } } } },
  },
};

test("operations are listed with the right that they need", () => {
  assert.deepEqual(operationsOf(DOCUMENT), [
    { id: "listApis", method: "GET", path: "/v1/apis", summary: "The APIs", tag: "APIs", right: "apis:read" },
    { id: "getHealth", method: "GET", path: "/healthz", summary: "It answers", tag: "The controller", right: "" },
  ]);
  assert.equal(operationNamed(DOCUMENT, "getHealth"), DOCUMENT.paths["/healthz"].get);
  assert.equal(operationNamed(DOCUMENT, "nothing"), undefined);
});

test("parameters have their type, limits and default", () => {
  assert.deepEqual(parametersOf(DOCUMENT.paths["/v1/apis"].get), [
    { name: "limit", place: "query", type: ["integer"], required: false, description: "How many.", constraints: ["at least 1", "1000 by default"] },
  ]);
  assert.deepEqual(parametersOf(DOCUMENT.paths["/healthz"].get), []);
});

test("answers have the content that components describe", () => {
  assert.deepEqual(answersOf(DOCUMENT, DOCUMENT.paths["/v1/apis"].get), [
    { status: "200", description: "They are here.", mediaTypes: ["application/json"], type: [{ shape: "Api" }] },
    { status: "400", description: "Bad Request", mediaTypes: ["application/problem+json"], type: [{ shape: "Problem" }] },
  ]);
  assert.deepEqual(answersOf(DOCUMENT, DOCUMENT.paths["/healthz"].get), [{ status: "204", description: "Yes.", mediaTypes: [], type: [] }]);
});

test("the type of a content is that of the first medium with a schema", () => {
  assert.deepEqual(contentType({ "application/yaml": {}, "application/json": { schema: REFERENCE } }), [{ shape: "Api" }]);
  assert.deepEqual(contentType({ "application/yaml": {} }), []);
});

/** @type {[schema: object, type: (string | {shape: string})[]][]} */
const TYPES = [
  [{ type: "string" }, ["string"]],
  [{ type: ["string", "null"] }, ["string or null"]],
  [{}, ["any"]],
  [{ enum: ["a", "b"] }, ["one of several values"]],
  [REFERENCE, [{ shape: "Api" }]],
  [{ type: "array", items: REFERENCE }, ["list of ", { shape: "Api" }]],
  [{ type: "array" }, ["list of ", "any"]],
  [{ type: "object", additionalProperties: REFERENCE }, ["object of ", { shape: "Api" }]],
  [{ type: "object", additionalProperties: false }, ["object"]],
  [{ anyOf: [REFERENCE, { type: "null" }] }, [{ shape: "Api" }, " or ", "null"]],
];

for (const [schema, type] of TYPES) {
  test(`${JSON.stringify(schema)} is ${JSON.stringify(type)}`, () => assert.deepEqual(typeOf(schema), type));
}

test("fields of a shape say whether they are always there", () => {
  const shape = { required: ["kind"], properties: { kind: { enum: ["Api"] }, names: { type: "array", items: { type: "string", maxLength: 9 }, description: "Of it." } } };
  assert.deepEqual(fieldsOf(shape), [
    { name: "kind", type: ["one of several values"], required: true, description: "", constraints: ['one of "Api"'] },
    { name: "names", type: ["list of ", "string"], required: false, description: "Of it.", constraints: ["at most 9 characters"] },
  ]);
  assert.deepEqual(fieldsOf({ type: "object" }), []);
});
