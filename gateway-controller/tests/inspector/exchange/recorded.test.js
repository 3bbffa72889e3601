import assert from "node:assert/strict";
import test from "node:test";
import { fileName } from "#lib/exchange/file_name.js";
import { lineBatches } from "#lib/exchange/line_batches.js";
import { Newest } from "#lib/exchange/newest.js";
import { read } from "#lib/exchange/recorded.js";

test("lines of a stream come whole, however they are cut", async () => {
  const bytes = new TextEncoder().encode('{"a":"grüße"}\n\n{"b":1}\n{"c":2}\nnot ended');
  for (let size = 1; size <= bytes.length; size += 1) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.slice(at * size, (at + 1) * size));
    let heard = 0;
    const lines = [];
    for await (const batch of lineBatches(new Blob(pieces).stream(), () => { heard += 1; })) lines.push(...batch);
    assert.deepEqual(lines, ['{"a":"grüße"}', '{"b":1}', '{"c":2}']);
    assert.ok(heard > 0);
  }
});

test("the newest items are kept, up to the limit", () => {
  /** @type {Newest<number>} */
  const newest = new Newest(3);
  for (let at = 0; at < 100; at += 1) {
    newest.add([at]);
    assert.ok(newest.kept.length <= 6);
  }
  assert.deepEqual(newest.newestFirst(), [99, 98, 97]);
  newest.addOlder([1, 2]);
  assert.deepEqual(newest.newestFirst(), [99, 98, 97]);
  assert.deepEqual(newest.take(), [97, 98, 99]);
  newest.add([100]);
  newest.addOlder([7, 8, 9]);
  assert.deepEqual(newest.take(), [8, 9, 100]);
  assert.deepEqual(newest.take(), []);
});

test("a file of an exchange is named by time, request and id", () => {
  const named = (/** @type {object} */ more) => fileName(read({ version: 1, id: "5f1c2d3e-0000-4000", startedAt: "2026-11-26T17:10:51.123456Z", ...more }));
  assert.equal(named({ request: { method: "GET", path: "/orders/7", headers: [] } }), "20261126T171051.123456Z-GET-orders-7-5f1c2d3e.exchange.json");
  assert.equal(named({ request: { method: "GET", path: `/../${"a/".repeat(100)}`, headers: [] } }).length, 23 + 1 + 39 + 1 + 8 + 14);
});

for (const [value, message] of /** @type {[unknown, RegExp][]} */ ([
  [null, /expected a recorded exchange/], ["text", /expected a recorded exchange/], [{}, /expected a recorded exchange/],
  [{ id: "i", version: 2 }, /expected a recording of version 1, got 2; reload the page/],
])) {
  test(`a value other than a recording is refused: ${JSON.stringify(value)}`, () => {
    assert.throws(() => read(value), { message });
  });
}
