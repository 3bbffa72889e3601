import assert from "node:assert/strict";
import test from "node:test";
import { asDocument, asQuery, fromQuery, inWords } from "#lib/exchange/filter.js";

/** @type {[filter: Record<string, string>, query: string, document: Record<string, unknown>, words: string][]} */
const FILTERS = [
  [{}, "", {}, "all exchanges"],
  [{ errors: "true", api: "orders" }, "errors=true&api=orders", { errors: true, api: "orders" }, "errors only, api orders"],
  [{ status: "5xx, 404" }, "status=5xx%2C404", { status: ["5xx", "404"] }, "status 5xx or 404"],
  [{ operation: "GET /items/{id}" }, "operation=GET+%2Fitems%2F%7Bid%7D", { operation: "GET /items/{id}" }, "operation GET /items/{id}"],
  [{ policy: "python-deny", path: "/orders/8" }, "policy=python-deny&path=%2Forders%2F8", { policy: "python-deny", path: "/orders/8" },
    "policy python-deny, path /orders/8"],
  [{ header: "x-user=ann=1" }, "header=x-user%3Dann%3D1", { header: { name: "x-user", value: "ann=1" } }, "header x-user=ann=1"],
  [{ header: "x-user" }, "header=x-user", { header: { name: "x-user" } }, "header x-user"],
  [{ id: "7", sample: "0.1" }, "id=7&sample=0.1", { id: "7", sample: 0.1 }, "id 7, a share of 0.1"],
  [{ client: "10.1.2.3", shadow: "different", sample: "few" }, "shadow=different&client=10.1.2.3&sample=few",
    { shadow: "different", client: "10.1.2.3", sample: "few" }, "shadow different, client 10.1.2.3, a share of few"],
];

for (const [filter, query, document, words] of FILTERS) {
  test(`a filter of ${words}`, () => {
    const sent = asQuery(filter);
    assert.deepEqual([...sent].sort(), [...new URLSearchParams(query)].sort());
    assert.deepEqual(asDocument(filter), document);
    assert.equal(inWords(document), words);
    assert.deepEqual(asQuery(fromQuery(sent)).toString(), sent.toString(), "expected the address to give the same filter again");
  });
}

test("empty parameters of an address are left out, and repeated ones are joined", () => {
  const query = new URLSearchParams("status=5xx&status=404&errors=false&api=%20&unknown=1");
  assert.deepEqual(fromQuery(query), { status: "5xx,404" });
});
