import assert from "node:assert/strict";
import test from "node:test";
import { read } from "#lib/exchange/recorded.js";
import { comparison, fault, notes, verdict } from "#lib/exchange/verdict.js";
import { conformance } from "../conformance.js";

for (const { name, recorded, ...expected } of conformance("exchanges.json")) {
  test(`explained in the same sentences as by gatewright explain: ${name}`, () => {
    const exchange = read(recorded);
    assert.equal(verdict(exchange), expected.verdict);
    assert.deepEqual(notes(exchange), expected.notes);
    const comparisons = expected.comparisons ?? exchange.executions.map(() => "");
    assert.deepEqual(exchange.executions.map((execution) => comparison(exchange, execution)), comparisons);
  });
}

test("a fault names the party and the code", () => {
  assert.equal(fault({ party: "upstream", code: "connection_refused", reason: "", flags: "UF,URX" }), "the upstream's: connection_refused (UF,URX)");
  assert.equal(fault({ party: "client", code: "no_route", reason: "" }), "the client's: no_route");
});
