import assert from "node:assert/strict";
import test from "node:test";
import { addressOf, filterOf, pageOf, pathOf } from "#lib/audit.js";

/** @type {[query: string, address: string, path: string][]} */
const FILTERS = [
  ["", "#/audit", "/v1/audit?limit=50"],
  ["actor=token%3Aann&name=orders", "#/audit?actor=token%3Aann&name=orders", "/v1/audit?limit=50&actor=token%3Aann&name=orders"],
  ["refused=true", "#/audit?refused=true", "/v1/audit?limit=50&outcome=refused"],
  ["refused=yes&other=1", "#/audit", "/v1/audit?limit=50"],
];

for (const [query, address, path] of FILTERS) {
  test(`the filter “${query}” is in both addresses`, () => {
    const filter = filterOf(new URLSearchParams(query));
    assert.equal(addressOf(filter), address);
    assert.equal(pathOf(filter, "", 50), path);
  });
}

test("older entries have the same filter", () => {
  const filter = filterOf(new URLSearchParams("refused=true"));
  assert.equal(addressOf(filter, 7), "#/audit?refused=true&before=7");
  assert.equal(pathOf(filter, "7", 50), "/v1/audit?limit=50&before=7&outcome=refused");
});

test("an entry leads to what it is about", () => {
  const entry = { number: 1, at: "", actor: "", origin: "", reason: "", action: "", outcome: /** @type {const} */ ("done"), status: 200, kind: "Api", name: "a/b" };
  assert.equal(pageOf({ ...entry, revision: 3 }), "#/apis/a%2Fb/history/3");
  assert.equal(pageOf(entry), "#/apis/a%2Fb/history");
  assert.equal(pageOf({ ...entry, kind: "Secret", revision: 3 }), "#/resources/secrets/a%2Fb/history/3");
  assert.equal(pageOf({ ...entry, name: "" }), "");
  assert.equal(pageOf({ ...entry, kind: "Token" }), "#/tokens");
  assert.equal(pageOf({ ...entry, kind: "Gateway" }), "");
});
