import assert from "node:assert/strict";
import test from "node:test";
import { read } from "#lib/exchange/recorded.js";
import { authorOf, touches } from "#lib/exchange/touches.js";

const header = (/** @type {string} */ name, /** @type {string} */ after) => ({ what: "header", name, after: [after] });
const EXCHANGE = read({
  version: 1, id: "i",
  executions: [
    { policy: "first:v1.0.0", phase: "request", outcome: "changed", changes: [header("x-a", "1"), { what: "metadata", name: "user", before: "ann", after: "bob" }] },
    { policy: "shade:v1.0.0", phase: "request", outcome: "changed", shadow: true, changes: [header("x-a", "shadow")] },
    { policy: "frail:v1.0.0", phase: "request", outcome: "failed", changes: [header("x-a", "failed")] },
    { policy: "second:v1.0.0", phase: "request_stream", outcome: "changed", changes: [header("x-a", "2"), header("x-b", "3")] },
    { policy: "third:v1.0.0", phase: "response", outcome: "changed", changes: [header("x-c", "4")] },
    { policy: "gate:v1.0.0", phase: "response", outcome: "answered", changes: [{ what: "answer", after: { headers: [["x-d", "5"], ["x-d", "6"]] } }] },
  ],
});

/** @param {import("#lib/exchange/touches.js").Place} place */
function shown(place) {
  return Object.fromEntries([...touches(EXCHANGE, place)].map(([name, all]) => [name, all.map((touch) => [authorOf(touch), touch.after])]));
}

test("a header is touched by the policies whose changes were applied, in their order", () => {
  assert.deepEqual(shown("request"), {
    "x-a": [["first:v1.0.0, request", ["1"]], ["second:v1.0.0, request stream", ["2"]]],
    "x-b": [["second:v1.0.0, request stream", ["3"]]],
  });
});

test("an answer's headers are its policy's", () => {
  assert.deepEqual(shown("response"), { "x-c": [["third:v1.0.0, response", ["4"]]], "x-d": [["gate:v1.0.0, response", ["5", "6"]]] });
});

test("keys of metadata are touched as headers are", () => {
  assert.deepEqual(shown("metadata"), { user: [["first:v1.0.0, request", ['"bob"']]] });
  assert.deepEqual(shown("analytics"), {});
});
