import assert from "node:assert/strict";
import test from "node:test";
import { read } from "#lib/exchange/recorded.js";
import { summary } from "#lib/exchange/summary.js";

/** @param {object[]} executions @param {object} [more] */
function exchange(executions, more) {
  const own = { version: 1, id: "i", node: "n", startedAt: "2026-11-26T17:10:51.123456Z", durationMs: 1, outcome: "completed" };
  return read({ ...own, executions: executions.map((execution) => ({ policy: "p:v1.0.0", phase: "request", ...execution })), ...more });
}

/** @type {[executions: object[], more: object, badges: string[]][]} */
const BADGES = [
  [[{ outcome: "changed" }, { outcome: "answered" }], {}, []],
  [[{ outcome: "failed" }], {}, ["failed"]],
  [[], { outcome: "failed" }, ["failed"]],
  [[{ outcome: "cancelled" }], { outcome: "cancelled" }, ["cancelled"]],
  [[{ outcome: "continued" }], {}, ["continued"]],
  [[{ outcome: "failed", shadow: true }], {}, ["shadow"]],
  [[{ outcome: "failed" }, { outcome: "continued" }, { outcome: "changed", shadow: true }], { outcome: "cancelled" },
    ["failed", "cancelled", "continued", "shadow"]],
];

for (const [executions, more, badges] of BADGES) {
  test(`a row has the badges ${JSON.stringify(badges)} of ${JSON.stringify([executions, more])}`, () => {
    assert.deepEqual(summary(exchange(executions, more)).badges, badges);
  });
}

test("a row keeps no long texts", () => {
  const long = "x".repeat(100_000);
  const executions = Array.from({ length: 50 }, (_, at) => ({ policy: `${long}${at}`, outcome: "failed" }));
  const row = summary(exchange(executions, { request: { method: "GET", path: `/${long}`, query: "a=1", headers: [] }, api: long }));
  assert.ok(JSON.stringify(row).length < 6000);
  assert.equal(row.target.length, 512);
  assert.equal(row.notes.length, 8);
});

test("a row has the request, and status 0 without a response", () => {
  const row = summary(exchange([], { request: { method: "GET", path: "/a", query: "b=1", headers: [] }, api: "orders", operation: "GET /a" }));
  assert.deepEqual([row.method, row.target, row.api, row.operation, row.status], ["GET", "/a?b=1", "orders", "GET /a", 0]);
});
