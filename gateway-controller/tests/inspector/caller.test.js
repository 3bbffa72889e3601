import assert from "node:assert/strict";
import test from "node:test";
import { boundOf, haveSameRights, isBoundCaller, lackOf, roleNames, rolesInWords, scopeOf } from "#lib/caller.js";

/** @param {string} role @param {object} [scope] */
function grant(role, scope) {
  return { role, names: [], labels: {}, hosts: [], contexts: [], ...scope };
}

/** @param {string[]} rights @param {ReturnType<typeof grant>[]} grants */
function caller(rights, ...grants) {
  return { actor: "token:ann", rights, grants };
}

test("a scope is said as the controller's refusals say it", () => {
  assert.equal(scopeOf(grant("viewer")), "");
  const scope = { names: ["pay-*"], labels: { team: "a", tier: "1" }, hosts: ["a.example", "b.example", "*.c.example"], contexts: ["/pay"] };
  const words = "a name like pay-* and the label team=a or tier=1 and hosts of a.example, b.example or *.c.example and a context of /pay";
  assert.equal(scopeOf(grant("viewer", scope)), words);
});

test("what a caller may not do is said with their role", () => {
  const bound = caller(["apis:read", "apis:write"], grant("publisher", { names: ["pay-*"] }));
  assert.equal(lackOf(bound, "apis:write"), "");
  assert.equal(lackOf(bound, "nodes:inspect"), "Seeing what nodes report needs the right nodes:inspect. Your role is publisher for APIs with a name like pay-*.");
  assert.equal(lackOf(caller([]), "new:right"), "new:right needs the right new:right. Your role is none.");
});

test("a node's token is for nodes", () => {
  assert.equal(boundOf(grant("node", { names: ["edge-*"] })), "nodes with a name like edge-*");
  assert.equal(boundOf(grant("viewer", { names: ["edge-*"] })), "APIs with a name like edge-*");
  assert.equal(boundOf(grant("node")), "");
  assert.equal(rolesInWords(caller([], grant("node", { names: ["edge-*"] }))), "node for nodes with a name like edge-*");
});

test("roles are named once each", () => {
  const both = caller([], grant("viewer"), grant("publisher", { names: ["a"] }), grant("publisher", { names: ["b"] }));
  assert.equal(roleNames(both), "viewer, publisher");
  assert.equal(rolesInWords(both), "viewer, and publisher for APIs with a name like a, and publisher for APIs with a name like b");
});

test("a caller with one grant for all APIs is not bound", () => {
  const bound = grant("publisher", { labels: { team: "a" } });
  assert.equal(isBoundCaller(caller([], bound)), true);
  assert.equal(isBoundCaller(caller([], bound, grant("viewer"))), false);
  assert.equal(isBoundCaller(caller([])), false);
});

test("callers with another name may have the same rights", () => {
  const ann = caller(["apis:read"], grant("viewer"));
  assert.equal(haveSameRights(ann, { ...ann, actor: "token:bob" }), true);
  assert.equal(haveSameRights(ann, caller(["apis:read"], grant("viewer", { names: ["a"] }))), false);
  assert.equal(haveSameRights(null, ann), false);
});
