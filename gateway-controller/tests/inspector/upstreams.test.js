import assert from "node:assert/strict";
import test from "node:test";
import { parse } from "#lib/metrics.js";
import { troubles } from "#lib/troubles.js";
import { isOfUpstreams, upstreamNotes } from "#lib/upstreams.js";

/** @param {string} name of a cluster @param {Record<string, number>} counts */
function counted(name, counts) {
  return Object.entries(counts).map(([metric, value]) => `envoy_cluster_${metric}{envoy_cluster_name="${name}"} ${value}\n`).join("");
}

/** @param {Record<string, number>} counts */
function notes(counts) {
  const all = { membership_total: 1, membership_healthy: 1, upstream_cx_total: 4, upstream_cx_connect_fail: 0, upstream_cx_active: 1, ...counts };
  const metrics = parse(counted("a|1", all) + counted("b|1", { membership_total: 1, membership_healthy: 1 }), isOfUpstreams);
  const clusters = { orders: ["a|1"], others: ["b|1"], unknown: ["c|1"] };
  return [...upstreamNotes([{ node: { id: "n1" }, metrics, stats: null, clusters, problem: "" }])];
}

test("an upstream without trouble has no note", () => {
  assert.deepEqual(notes({}), []);
  assert.deepEqual(notes({ upstream_cx_connect_fail: 3 }), [], "one connection is open");
});

for (const [counts, said] of /** @type {[Record<string, number>, string][]} */ ([
  [{ upstream_cx_connect_fail: 4, upstream_cx_active: 0 }, "4 of 4 connections to its upstream failed, none is open"],
  [{ membership_total: 3, membership_healthy: 1 }, "2 of 3 targets fail their health check or are ejected: 1 left"],
  [{ membership_total: 0, membership_healthy: 0 }, "its upstream has no address: the name does not resolve"],
])) {
  test(`an upstream with trouble has a note: ${said}`, () => {
    assert.deepEqual(notes(counts), [["orders", said]]);
    const apis = [{ metadata: { name: "orders" }, status: { state: "deployed", reason: "" } }];
    const [found] = troubles(apis, [], new Map(notes(counts))).filter(({ to }) => to === "#/apis/orders");
    assert.equal(found.title, "The upstream of API orders shows trouble");
    assert.equal(found.kind, "warn");
  });
}
