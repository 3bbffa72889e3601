import assert from "node:assert/strict";
import test from "node:test";
import { Looking } from "#lib/executions.js";
import { totalOrNone } from "#lib/figures.js";
import { bytes } from "#lib/format.js";
import { parse } from "#lib/metrics.js";
import { quietWords, requestSources } from "#lib/traffic.js";

test("what nobody tells is unknown, and not nothing", () => {
  const told = parse('gatewright_process_memory_bytes{component="engine"} 1024\ngatewright_process_memory_bytes{component="envoy"} 1024\n');
  assert.equal(totalOrNone(told, "gatewright_process_memory_bytes", bytes), "2 KiB");
  assert.equal(totalOrNone(parse(""), "gatewright_process_memory_bytes", bytes), "–");
  assert.equal(totalOrNone(null, "gatewright_process_memory_bytes", bytes), "–");
});

test("a quiet gateway says since when", () => {
  const looking = new Looking(requestSources());
  const take = (/** @type {number} */ count, /** @type {number} */ at) => {
    const metrics = parse(`envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http"} ${count}\n`);
    looking.take([{ node: { id: "n1" }, metrics, stats: null, problem: "" }], at);
  };
  assert.equal(quietWords(looking), "", "no node has told anything yet");
  take(0, 1000);
  assert.equal(quietWords(looking), "No requests since the nodes started.");
  take(1200, 2000);
  assert.equal(quietWords(looking), "", "there is something to draw");
  const later = new Looking(requestSources());
  const metrics = parse('envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="http"} 1200\n');
  for (const at of [1000, 3000]) later.take([{ node: { id: "n1" }, metrics, stats: null, problem: "" }], at);
  assert.equal(quietWords(later), "No requests since this page was opened, and 1,200 before that since the nodes started.");
});
