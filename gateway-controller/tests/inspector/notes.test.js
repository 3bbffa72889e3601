import assert from "node:assert/strict";
import test from "node:test";
import { capital, upstreamNotes } from "#lib/notes.js";
import { troubles } from "#lib/troubles.js";
import { conformance } from "./conformance.js";

/** @param {any} notes @param {string} id */
function report(notes, id) {
  return { node: { id, gateway: { state: "deployed", reason: "" } }, stats: null, metrics: null, notes, problem: "" };
}

/** @param {any[]} notes */
function apisOf(notes) {
  const names = new Set(notes.filter(({ about }) => about.kind === "api").map(({ about }) => about.name));
  return [...names].map((name) => ({ metadata: { name }, status: { state: "deployed", reason: "" } }));
}

for (const { name, notes, status, inspector } of conformance("notes.json").cases) {
  test(`notes of a node are shown: ${name}`, () => {
    const bySeverity = [...inspector].sort((a, b) => ["bad", "warn"].indexOf(a.kind) - ["bad", "warn"].indexOf(b.kind));
    assert.deepEqual(troubles(apisOf(notes), [report(notes, "n1")]), bySeverity);
    assert.deepEqual(Object.fromEntries(upstreamNotes([report(notes, "n1")])), status.apis);
  });
}

test("with several nodes each note names its node", () => {
  const about = { kind: "api", name: "orders" };
  const note = { severity: "warn", party: "upstream", about, title: "the upstream of API orders has no address", reason: "its name does not resolve", cure: "fix it" };
  const nodes = [report([note], "n1"), report([note], "n2"), report(null, "old")];
  const expected = "its name does not resolve on n1 (fix it); its name does not resolve on n2 (fix it)";
  assert.deepEqual([...upstreamNotes(nodes)], [["orders", expected]]);
  const titles = troubles(apisOf([note]), nodes).map(({ title }) => title);
  assert.deepEqual(titles, ["The upstream of API orders has no address on n1", "The upstream of API orders has no address on n2"]);
  const [pending, ...others] = troubles([{ metadata: { name: "orders" }, status: { state: "pending", reason: "x" } }], nodes);
  assert.deepEqual([pending.title, pending.cure, others], ["API orders is pending", "Nodes try again by themselves. Fix it.", []]);
});

test("a name at the beginning of a sentence keeps its lower case", () => {
  for (const text of ["broken.pem: no such file", "add-headers:v1.0.0 failed", "/run/a.sock fails", "127.0.0.1 fails"]) assert.equal(capital(text), text);
  assert.equal(capital("it ended, and so on"), "It ended, and so on");
});
