import assert from "node:assert/strict";
import test from "node:test";
import { addBuckets, increases, parse, quantile } from "#lib/metrics.js";
import { random } from "./random.js";

/** @param {string} text @returns {[string, Record<string, string>, number][]} */
function samplesOf(text) {
  return [...parse(text)].flatMap(([name, samples]) => samples.map(({ labels, value }) => [name, labels, value]));
}

test("samples are read as Prometheus reads them", () => {
  const text = String.raw`
# HELP x Text with a {brace="of it"} 3
# TYPE x untyped
x 1
x{} 2
x{a="b"} 3 1700000000000
x{a="with \"quotes\", a \\ and a \n line",b="} 4",} 5
x{ c = "spaces" , d = "too" } 6e3
y{le="+Inf"} +Inf
y -Inf
z NaN
`;
  assert.deepEqual(samplesOf(text), [
    ["x", {}, 1],
    ["x", {}, 2],
    ["x", { a: "b" }, 3],
    ["x", { a: 'with "quotes", a \\ and a \n line', b: "} 4" }, 5],
    ["x", { c: "spaces", d: "too" }, 6000],
    ["y", { le: "+Inf" }, Number.POSITIVE_INFINITY],
    ["y", {}, Number.NEGATIVE_INFINITY],
    ["z", {}, Number.NaN],
  ]);
});

test("lines other than samples are left out", () => {
  const text = 'x{a="b" 12\nx{a=b} 1\nx{a="b"}\nx{a="b} 1\n{"x"} 1\n 1\nx one\nx{a="b"} 1.2.3\nok 7\n';
  assert.deepEqual(samplesOf(text), [["ok", {}, 7]]);
});

test("only wanted names are read", () => {
  assert.deepEqual([...parse("a 1\nb 2\nc 3\n", (name) => name !== "b").keys()], ["a", "c"]);
});

test("a counter that began anew or has just appeared counts from zero, and no increase is negative", () => {
  const before = parse('c{k="grows"} 5\nc{k="same"} 5\nc{k="again"} 5\nc{k="gone"} 5\n');
  const now = parse('c{k="grows"} 8\nc{k="same"} 5\nc{k="again"} 2\nc{k="new"} 4\n');
  const grown = increases(before, now, "c").map(({ labels, value }) => [labels.k, value]);
  assert.deepEqual(grown, [["grows", 3], ["again", 2], ["new", 4]]);
});

test("buckets of several samples are added by their bounds", () => {
  const buckets = new Map([[1, 2]]);
  addBuckets(buckets, parse('b{le="1.0"} 3\nb{le="+Inf"} 5\nb{le="spoilt"} 7\nb 9\n').get("b") ?? []);
  assert.deepEqual([...buckets], [[1, 5], [Number.POSITIVE_INFINITY, 5]]);
});

/**
 * Prometheus' histogram_quantile, https://prometheus.io/docs/prometheus/latest/querying/functions/.
 *
 * @param {number} q
 * @param {[number, number][]} buckets  cumulative, in order
 */
function expectedQuantile(q, buckets) {
  const total = buckets[buckets.length - 1][1];
  if (total === 0) return null;
  const rank = q * total;
  let [below, under] = [0, 0];
  for (const [at, [bound, count]] of buckets.entries()) {
    if (count > 0 && count >= rank) {
      if (bound === Number.POSITIVE_INFINITY) return at ? below : null;
      return below + ((bound - below) * (rank - under)) / (count - under);
    }
    [below, under] = [bound, count];
  }
  throw new Error("expected a last bucket with all");
}

test("quantiles are those of Prometheus", () => {
  const next = random(19);
  let known = 0;
  for (let number = 0; number < 300; number += 1) {
    const bounds = [...new Set(Array.from({ length: 1 + next(14) }, () => 1 + next(999)))].sort((a, b) => a - b);
    let total = 0;
    const buckets = [...bounds, Number.POSITIVE_INFINITY].map((bound) => {
      total += [0, 0, 1, 1 + next(1000)][next(4)];
      return /** @type {[number, number]} */ ([bound, total]);
    });
    const q = [0, 0.5, 0.95, 0.99, 1, next(1000) / 1000][next(6)];
    const [actual, expected] = [quantile(q, new Map(buckets.toReversed())), expectedQuantile(q, buckets)];
    const message = `of ${q} in ${JSON.stringify(buckets)}`;
    if (actual === null || expected === null) assert.equal(actual, expected, message);
    else assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.abs(expected), `expected ${expected}, got ${actual}, ${message}`);
    known += Number(expected !== null);
  }
  assert.ok(known > 200, `expected mostly histograms with observations, got ${known} of 300`);
});
