import assert from "node:assert/strict";
import test from "node:test";
import { read } from "#lib/exchange/recorded.js";
import { figure, ticks, timeline, wholeMs } from "#lib/exchange/timeline.js";

test("the upstream stands between the executions, from the request's end to the answer", () => {
  const turn = (/** @type {number} */ startedMs, more = {}) => ({ policy: "p:v1.0.0", phase: "request", outcome: "unchanged", startedMs, durationMs: 1, ...more });
  const exchange = read({
    version: 1, id: "i", durationMs: 9, executions: [turn(0, { workMs: 0.4 }), turn(1, { workMs: 3 }), turn(8, { durationMs: 4 })],
    forwarded: { atMs: 2.5, upstream: "spare", headers: [] }, upstreamResponse: { atMs: 7, status: 503, headers: [] },
  });
  const rows = timeline(exchange);
  assert.deepEqual(rows.map(({ startedMs }) => startedMs), [0, 1, 2.5, 8]);
  assert.deepEqual(rows[2], { upstream: "spare", startedMs: 2.5, durationMs: 4.5, status: 503 });
  assert.deepEqual(rows.map((row) => ("execution" in row ? row.waitedMs : "upstream")), [0.6, 0, "upstream", undefined]);
  assert.equal(wholeMs(exchange, rows), 12, "expected the axis to end with the last execution");
  assert.equal(timeline(read({ version: 1, id: "i", executions: [turn(0)] })).length, 1);
});

test("a stream waits for its turn and for chunks, and its upstream until its answer has ended", () => {
  const stream = { policy: "p:v1.0.0", phase: "response_stream", outcome: "changed", startedMs: 10, durationMs: 1500, workMs: 8, chunksMs: 1490 };
  const rows = timeline(read({
    version: 1, id: "i", durationMs: 1511, executions: [stream], forwarded: { atMs: 1, headers: [] },
    upstreamResponse: { atMs: 9, endMs: 1500, status: 200, headers: [] },
  }));
  assert.equal(rows[0].durationMs, 1499);
  assert.ok("execution" in rows[1]);
  assert.deepEqual([rows[1].waitedMs, rows[1].chunksMs, rows[1].workMs], [2, 1490, 8]);
});

test("an upstream in whose place Envoy answered has no status, and one that was not asked has no row", () => {
  const exchange = {
    version: 1, id: "i", durationMs: 9, forwarded: { atMs: 2, headers: [] }, upstreamResponse: { atMs: 7, status: 503, headers: [] },
    cause: { party: "upstream", code: "connection_refused", reason: "it refused the connection" },
  };
  assert.deepEqual(timeline(read(exchange)), [{ upstream: "", startedMs: 2, durationMs: 5, status: 0 }]);
  assert.deepEqual(timeline(read({ ...exchange, cause: { ...exchange.cause, party: "gateway" } })), []);
});

/** @type {[number, number[]][]} */
const TICKS = [[12, [0, 5, 10]], [100, [0, 50, 100]], [0.8, [0, 0.2, 0.4, 0.6, 0.8]], [1001.3, [0, 500, 1000]]];

for (const [whole, expected] of TICKS) {
  test(`the axis of ${whole} ms has round figures`, () => {
    assert.deepEqual(ticks(whole).map((tick) => Number(tick.toFixed(6))), expected);
  });
}

/** @type {[number, string][]} as `gatewright explain` has them */
const FIGURES = [[0, "0.000"], [0.0314, "0.031"], [0.9994, "0.999"], [0.99951, "1.00"], [1.234, "1.23"], [12.34, "12.3"], [99.96, "100"], [999.4, "999"]];

for (const [value, expected] of FIGURES) {
  test(`${value} has three digits that count`, () => {
    assert.equal(figure(value), expected);
  });
}
