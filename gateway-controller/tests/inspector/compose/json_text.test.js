import assert from "node:assert/strict";
import test from "node:test";
import { prettyJson } from "#lib/compose/json_text.js";

test("JSON is indented, and each value stays as it was written", () => {
  const text = '{"id":12345678901234567890,"a":[],"b":{"c\\"{":[1e400,-0.10]},"d":{}}';
  assert.equal(prettyJson(text), `{
  "id": 12345678901234567890,
  "a": [],
  "b": {
    "c\\"{": [
      1e400,
      -0.10
    ]
  },
  "d": {}
}`);
  assert.equal(prettyJson(' "a, b" '), '"a, b"');
  for (const other of ["", "{", "[1,]", "text"]) assert.equal(prettyJson(other), null);
});
