import assert from "node:assert/strict";
import test from "node:test";
import { actionInWords, isThere, rollbackInWords, spaced } from "#lib/history.js";

/** @type {[entry: {action: string, from?: string, to?: string}, words: string, there: boolean][]} */
const ENTRIES = [
  [{ action: "created" }, "created", true],
  [{ action: "changed" }, "changed", true],
  [{ action: "deleted" }, "deleted", false],
  [{ action: "rolledBack", from: "orders@3" }, "rolled back to orders@3", true],
  [{ action: "renamed", to: "sales" }, "renamed to sales", false],
  [{ action: "renamed", from: "orders" }, "renamed from orders", true],
];

for (const [entry, words, there] of ENTRIES) {
  test(`an entry is said as “${words}”`, () => {
    assert.equal(actionInWords(entry), words);
    assert.equal(isThere(entry), there);
  });
}

test("an action is said in words", () => {
  assert.deepEqual(["deleted", "rolledBack"].map(spaced), ["deleted", "rolled back"]);
});

test("what a rollback would do is said by its lines", () => {
  assert.equal(rollbackInWords("API", { kind: "changed" }, { added: 1, removed: 2 }), "1 line would be added, 2 removed.");
  assert.equal(rollbackInWords("API", { kind: "changed" }, { added: 0, removed: 1 }), "0 lines would be added, 1 removed.");
  assert.equal(rollbackInWords("API", { kind: "created" }, { added: 9, removed: 0 }), "The API would be there again.");
  assert.equal(rollbackInWords("API", { kind: "unchanged" }, { added: 0, removed: 0 }), "Nothing would change: the API is as it was then.");
});
