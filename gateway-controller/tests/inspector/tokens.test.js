import assert from "node:assert/strict";
import test from "node:test";
import { labelMistake, wantedToken } from "#lib/tokens.js";

const EMPTY = { name: "", role: "viewer", names: "", labels: "", hosts: "", contexts: "", days: "" };

test("a token without bounds and days has none", () => {
  const expected = { name: "ann", role: "viewer", names: [], labels: {}, hosts: [], contexts: [] };
  assert.deepEqual(wantedToken({ ...EMPTY, name: " ann " }), expected);
});

test("bounds are lists, with commas, blanks or both between them", () => {
  const { names, labels, hosts, contexts, days } = wantedToken({
    ...EMPTY, names: "pay-*, orders", labels: "team=a tier=1", hosts: "a.example,*.b.example", contexts: " /pay ", days: "30",
  });
  assert.deepEqual([names, labels, hosts, contexts, days], [["pay-*", "orders"], { team: "a", tier: "1" }, ["a.example", "*.b.example"], ["/pay"], 30]);
});

test("the controller refuses days that are no number", () => {
  assert.equal(wantedToken({ ...EMPTY, days: "soon" }).days, "soon");
});

test("labels without a value are not sent", () => {
  assert.equal(labelMistake("team=a, tier=1"), "");
  assert.equal(labelMistake(""), "");
  assert.equal(labelMistake("team, =a tier=1 x="), "Expected labels as name=value, got team, =a, x=.");
});
