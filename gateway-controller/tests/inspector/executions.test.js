import assert from "node:assert/strict";
import test from "node:test";
import { executed, failed, failures, Sampler, together } from "#lib/executions.js";
import { parse } from "#lib/metrics.js";

const START_MS = 1_000_000_000;

/**
 * A sampler that has taken these samples.
 *
 * @param {...[number, ...(string | null)[]]} answers  when, in seconds, and what each node's metrics were; null: it did not answer
 */
function look(...answers) {
  const sampler = new Sampler([
    { name: "c", group: ({ g }) => g ?? null, as: ({ k }) => k },
    { name: "h_bucket", group: ({ g }) => g, as: "time", histogram: true },
  ], 60);
  for (const [at, ...texts] of answers) {
    const reports = texts.map((text, index) => ({
      node: { id: `n${index}` }, metrics: text === null ? null : parse(text), stats: null, problem: "",
    }));
    sampler.add(reports, START_MS + at * 1000);
  }
  return sampler;
}

/** @param {import("#lib/executions.js").Groups} groups */
function shown(groups) {
  return Object.fromEntries([...groups].map(([name, { counts, histograms }]) => [name, [counts, [...(histograms.time ?? [])]]]));
}

test("nodes are summed, each from its first answer", () => {
  const first = 'c{g="a",k="ok"} 100\nh_bucket{g="a",le="1"} 7\n';
  const then = 'c{g="a",k="ok"} 103\nc{g="a",k="bad"} 1\nc{k="of no group"} 9\nh_bucket{g="a",le="1"} 9\n';
  const last = 'c{g="a",k="ok"} 110\nc{g="a",k="bad"} 1\nh_bucket{g="a",le="1"} 9\n';
  const sampler = look([0, first], [2, then, 'c{g="b",k="ok"} 50\n'], [4, null, 'c{g="b",k="ok"} 60\n'], [6, last]);
  assert.equal(sampler.points.length, 3);
  const recent = sampler.recent(10);
  assert.equal(recent.seconds, 6);
  assert.deepEqual(shown(recent.groups), { a: [{ ok: 10, bad: 1 }, [[1, 2]]], b: [{ ok: 10 }, []] });
  assert.deepEqual(shown(sampler.sinceStart()), { a: [{ ok: 110, bad: 1 }, [[1, 9]]] });
});

test("old points are dropped", () => {
  const sampler = look(...Array.from({ length: 100 }, (_, at) =>
    /** @type {[number, string]} */ ([2 * at, `c{g="a",k="ok"} ${2 * at}\n`])));
  const recent = sampler.recent(10);
  assert.deepEqual([sampler.points.length, recent.seconds, shown(recent.groups).a[0]], [31, 10, { ok: 10 }]);
  assert.deepEqual(sampler.smoothed(4).map((groups) => groups.get("a")?.counts.ok).slice(-3), [4, 4, 4]);
});

test("executions are counted by outcome", () => {
  const counts = { ok: 5, cancelled: 1, timeout: 2, exception: 3 };
  const groups = new Map([["a", { counts, histograms: {} }], ["b", { counts: { ok: 7, timeout: 4 }, histograms: {} }]]);
  assert.deepEqual(failures(groups.get("a")), [["exception", 3], ["timeout", 2]]);
  assert.deepEqual([executed(groups.get("a")), failed(groups.get("a"))], [11, 5]);
  assert.deepEqual(together(groups).counts, { ok: 12, cancelled: 1, timeout: 6, exception: 3 });
  assert.deepEqual(together(groups, (name) => name === "b").counts, { ok: 7, timeout: 4 });
  assert.deepEqual([executed(undefined), failed(undefined)], [0, 0]);
});
