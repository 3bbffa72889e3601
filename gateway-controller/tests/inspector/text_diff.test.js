import assert from "node:assert/strict";
import test from "node:test";
import { diffLines, hunks } from "#lib/text_diff.js";
import { random } from "./random.js";

/** The length of the longest common subsequence of two texts' lines. @param {string[]} lines @param {string[]} other */
function mostInCommon(lines, other) {
  let above = new Array(other.length + 1).fill(0);
  for (const line of lines) {
    const row = [0];
    for (const [at, text] of other.entries()) row.push(line === text ? above[at] + 1 : Math.max(above[at + 1], row[at]));
    above = row;
  }
  return above[other.length];
}

test("a difference has both texts, and is the shortest", () => {
  const next = random(7);
  const text = () => Array.from({ length: next(13) }, () => ["a", "b", "c", "", "é"][next(5)]);
  for (let number = 0; number < 2000; number += 1) {
    const [before, after] = [text(), text()];
    const lines = diffLines(before, after);
    const without = (/** @type {string} */ sign) => lines.filter((line) => line.sign !== sign).map((line) => line.text);
    const shown = JSON.stringify([before, after]);
    assert.deepEqual(without("+"), before, shown);
    assert.deepEqual(without("-"), after, shown);
    assert.equal(lines.filter(({ sign }) => sign === " ").length, mostInCommon(before, after), shown);
  }
});

test("texts that are too long, or differ in too much, are replaced between their common beginning and end", () => {
  for (const length of [200_000, 4000]) {
    const before = Array.from({ length }, (_, at) => `line ${at}`);
    const after = before.map((line, at) => (at > 10 && at < length - 10 ? `${line}.` : line));
    const lines = diffLines(before, after);
    assert.equal(lines.filter(({ sign }) => sign === " ").length, 21);
    assert.equal(lines.length, 21 + 2 * (length - 21));
  }
});

test("changes are shown with so many lines around each", () => {
  const lines = diffLines([..."abcdefghij"], [..."abcXdefghiYj"]);
  const shown = hunks(lines, 1).map((row) => ("skipped" in row ? row.skipped : row.sign + row.text));
  assert.deepEqual(shown, [2, " c", "+X", " d", 4, " i", "+Y", " j"]);
  assert.deepEqual(hunks(diffLines(["a", "b"], ["a", "b"])), [{ skipped: 2 }]);
});
