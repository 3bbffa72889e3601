import assert from "node:assert/strict";
import test from "node:test";
import { Sampler } from "#lib/executions.js";
import { totalOrNone } from "#lib/figures.js";
import { bytes } from "#lib/format.js";
import { parse } from "#lib/metrics.js";
import { quietWords, requestSources } from "#lib/traffic.js";

test("a metric that no node reports is unknown, not 0", () => {
  const metrics = parse('gatewright_process_memory_bytes{component="engine"} 1024\ngatewright_process_memory_bytes{component="envoy"} 1024\n');
  assert.equal(totalOrNone(metrics, "gatewright_process_memory_bytes", bytes), "2 KiB");
  assert.equal(totalOrNone(parse(""), "gatewright_process_memory_bytes", bytes), "–");
  assert.equal(totalOrNone(null, "gatewright_process_memory_bytes", bytes), "–");
});

test("a gateway without requests says since when", () => {
  const sampler = new Sampler(requestSources());
  const add = (/** @type {number} */ count, /** @type {number} */ at) => {
    const metrics = parse(`envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http"} ${count}\n`);
    sampler.add([{ node: { id: "n1" }, metrics, stats: null, problem: "" }], at);
  };
  assert.equal(quietWords(sampler), "", "no node has reported yet");
  add(0, 1000);
  assert.equal(quietWords(sampler), "No requests since the nodes started.");
  add(1200, 2000);
  assert.equal(quietWords(sampler), "", "there is something to draw");
  const later = new Sampler(requestSources());
  const metrics = parse('envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http"} 1200\n');
  for (const at of [1000, 3000]) later.add([{ node: { id: "n1" }, metrics, stats: null, problem: "" }], at);
  assert.equal(quietWords(later), "No requests since this page was opened, and 1,200 before that since the nodes started.");
});
