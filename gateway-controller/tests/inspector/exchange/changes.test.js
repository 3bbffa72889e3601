import assert from "node:assert/strict";
import test from "node:test";
import { heading, lines } from "#lib/exchange/changes.js";

const REFUSAL = { status: 401, headers: [["x-a", "1"]], body: { size: 2, text: "no" } };

/** @type {[change: import("#lib/exchange/recorded.js").Change, heading: string, lines: string[]][]} */
const CHANGES = [
  [{ what: "header", name: "x-a", before: ["1", "2"], after: ["2"] }, "header x-a", ["-1", "-2", "+2"]],
  [{ what: "header", name: "x-a", before: ["1"] }, "header x-a", ["-1"]],
  [{ what: "trailer", name: "x-a", after: ["1"] }, "trailer x-a", ["+1"]],
  [{ what: "metadata", name: "user", before: null, after: { id: 7 } }, "metadata user", ["-null", '+{"id":7}']],
  [{ what: "analytics", name: "model", after: "small" }, "analytics model", ['+"small"']],
  [{ what: "method", before: "GET", after: "POST" }, "method", ["-GET", "+POST"]],
  [{ what: "path", before: "/a", after: "/b" }, "path", ["-/a", "+/b"]],
  [{ what: "query", before: "a=1" }, "query", ["-a=1"]],
  [{ what: "upstream", after: "blue" }, "upstream", ["+blue"]],
  [{ what: "status", before: 200, after: 404 }, "status", ["-200", "+404"]],
  [{ what: "body", before: { size: 3, base64: "AAEC" }, after: { size: 1, text: "x" } }, "body, 3 → 1 bytes",
    ["-(3 bytes that are no text)", "+x"]],
  [{ what: "body", after: { size: 3, decoded: "gzip" } }, "body, 3 bytes", ["+(3 bytes in gzip that are no text)"]],
  [{ what: "body", after: { size: 9, text: "begins", truncated: true } }, "body, 9 bytes", ["+begins", "+… (the rest was not recorded)"]],
  [{ what: "body", before: { size: 13, text: '{"a":1,"b":2}' }, after: { size: 2, text: "no" } }, "body, 13 → 2 bytes",
    ['-{"a":1,"b":2}', "+no"]],
  [{ what: "body", before: { size: 13, text: '{"a":1,"b":2}' }, after: { size: 13, text: '{"a":1,"b":3}' } }, "body, 13 → 13 bytes",
    [" {", '   "a": 1,', '-  "b": 2', '+  "b": 3', " }"]],
  [{ what: "answer", after: REFUSAL }, "answer 401", ["+x-a: 1", "+", "+no"]],
  [{ what: "answer", before: REFUSAL, after: { ...REFUSAL, body: { size: 3, text: "yes" } } }, "answer 401", [" x-a: 1", " ", "-no", "+yes"]],
  [{ what: "answer", before: REFUSAL, after: { ...REFUSAL, status: 403, headers: [["x-a", "2"]] } }, "answer 401 → 403",
    ["-x-a: 1", "+x-a: 2", " ", " no"]],
];

for (const [change, title, expected] of CHANGES) {
  test(`${title}: ${JSON.stringify(change)}`, () => {
    assert.equal(heading(change), title);
    assert.deepEqual(lines(change).map((line) => ("skipped" in line ? line.skipped : line.sign + line.text)), expected);
  });
}
