import assert from "node:assert/strict";
import test from "node:test";
import { topOf } from "#lib/chart.js";

/** @type {[(number | null)[], number][]} */
const TOPS = [
  [[], 1], [[0], 1], [[0.7], 1], [[1], 1], [[3.2, null, 4.9], 5], [[20], 20], [[51], 100], [[0.0021], 0.005],
];

for (const [values, top] of TOPS) {
  test(`the axis of ${JSON.stringify(values)} ends at ${top}`, () => {
    assert.ok(Math.abs(topOf([{ name: "", values }]) - top) < 1e-9);
  });
}

test("an axis of bytes ends at a power of two", () => {
  assert.equal(topOf([{ name: "", values: [90 * 2 ** 20] }], true), 128 * 2 ** 20);
});
