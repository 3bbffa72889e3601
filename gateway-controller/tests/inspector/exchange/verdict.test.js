import assert from "node:assert/strict";
import test from "node:test";
import { read } from "#lib/exchange/recorded.js";
import { comparison, notes, verdict } from "#lib/exchange/verdict.js";
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
