import assert from "node:assert/strict";
import test from "node:test";
import { cut, visible } from "#lib/visible_text.js";
import { conformance } from "./conformance.js";

for (const { text, shown } of conformance("visible_text.json")) {
  test(`invisible characters are escaped as in the terminal: “${shown}”`, () => {
    assert.equal(visible(text), shown);
  });
}

test("a text is cut between characters", () => {
  assert.equal(cut("abcd", 4), "abcd");
  assert.equal(cut("abcde", 4), "abc…");
  assert.equal(cut("ab😀de", 4), "ab…", "expected no half of a character");
  assert.equal(cut("a😀bcd", 4), "a😀…");
});
