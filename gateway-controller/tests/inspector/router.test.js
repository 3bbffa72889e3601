import assert from "node:assert/strict";
import test from "node:test";
import { href, match } from "#lib/router.js";

const load = () => Promise.reject(new Error("it is not loaded"));
const ROUTES = ["/", "/apis", "/apis/new", "/apis/:name", "/apis/:name/edit", "/policies/:name/:version", "/nodes/:id*"].map((pattern) => ({ pattern, load }));

/** @type {[fragment: string, pattern: string | undefined, params?: object][]} */
const FRAGMENTS = [
  ["", "/"], ["#", "/"], ["#/", "/"], ["#/apis", "/apis"], ["#/apis/new", "/apis/new"],
  ["#/apis/petstore", "/apis/:name", { name: "petstore" }],
  ["#/apis/a%2Fb%20c/edit", "/apis/:name/edit", { name: "a/b c" }],
  ["#/policies/deny/v1.0.0", "/policies/:name/:version", { name: "deny", version: "v1.0.0" }],
  ["#/nodes/one/two%20three", "/nodes/:id*", { id: "one/two three" }],
  ["#/apis/%", "/apis/:name", { name: "%" }],
  ["#/nothing/here", undefined], ["#/apis/one/two/three", undefined], ["#/policies/only-a-name", undefined],
  ["#/apis/", undefined], ["#/nodes/", undefined], ["#//", undefined],
];

for (const [fragment, pattern, params = {}] of FRAGMENTS) {
  test(`“${fragment}” is ${pattern ?? "no page"}`, () => {
    const matched = match(ROUTES, fragment);
    assert.equal(matched?.route.pattern, pattern);
    if (matched) assert.deepEqual({ ...matched.params, query: [...matched.params.query] }, { ...params, query: [] });
  });
}

test("an address has its parts and its query encoded, and is read again", () => {
  const address = href(["apis", "a/b?c#d"], { text: "x&y=1?", state: "" });
  assert.equal(address, "#/apis/a%2Fb%3Fc%23d?text=x%26y%3D1%3F&state=");
  const matched = match(ROUTES, address);
  assert.equal(matched?.params.name, "a/b?c#d");
  assert.deepEqual([...(matched?.params.query ?? [])], [["text", "x&y=1?"], ["state", ""]]);
});
