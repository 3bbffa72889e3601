import assert from "node:assert/strict";
import test from "node:test";
import { lineBatches } from "#lib/exchange/line_batches.js";

/** @param {Uint8Array} bytes @param {number} size @returns {ReadableStream<Uint8Array>} */
function streamOf(bytes, size) {
  return new ReadableStream({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
}

test("lines of a stream stay whole wherever it is cut: within a line, within a character, at a line's end", async () => {
  const bytes = new TextEncoder().encode('{"a": "ä€😀"}\n\n{"b": 2}\n{"c": 3}\n{"d"');
  for (let size = 1; size <= bytes.length; size += 1) {
    const lines = [];
    for await (const batch of lineBatches(streamOf(bytes, size))) lines.push(...batch);
    assert.deepEqual(lines, ['{"a": "ä€😀"}', '{"b": 2}', '{"c": 3}'], `in pieces of ${size} bytes`);
  }
});
