import assert from "node:assert/strict";
import test from "node:test";
import { cost, isCounted, isOfUsage, otherRequests, usageBy } from "#lib/llm_usage.js";
import { parse } from "#lib/metrics.js";

const P = "gatewright_policy_llm_";

/** @param {string} counter @param {string} model @param {string} team @param {number} value @param {string} [outcome] */
function line(counter, model, team, value, outcome) {
  return `${P}${counter}_total{policy="llm-usage:v1.0.0",api="a",model="${model}",client="",team="${team}"${outcome ? `,outcome="${outcome}"` : ""}} ${value}`;
}

const FIRST = parse(
  [
    line("requests", "big", "red", 3, "counted"), line("requests", "small", "blue", 2, "counted"),
    line("requests", "", "", 4, "error"), line("requests", "", "", 5, "unknown_shape"), line("requests", "big", "red", 1, "no_usage"),
    line("input_tokens", "big", "red", 1000), line("output_tokens", "big", "red", 100), line("input_tokens", "small", "blue", 50),
    line("cost_billionths", "big", "red", 1_250_000_000), line("unpriced", "small", "blue", 2),
  ].join("\n"),
  isOfUsage,
);
const SECOND = parse([line("requests", "big", "blue", 1, "counted"), line("input_tokens", "big", "blue", 10), line("unpriced", "big", "blue", 1)].join("\n"), isOfUsage);
const NODES = [FIRST, null, SECOND];

test("counters of all nodes are added, by model and by team", () => {
  const none = { counted: 0, input: 0, output: 0, billionths: 0, unpriced: 0, withoutUsage: 0 };
  assert.deepEqual(usageBy(NODES, "model"), [
    { name: "big", requests: 5, counted: 4, input: 1010, output: 100, billionths: 1_250_000_000, unpriced: 1, withoutUsage: 1 },
    { ...none, name: "small", requests: 2, counted: 2, input: 50, unpriced: 2 },
    { ...none, name: "", requests: 4 },
  ]);
  assert.deepEqual(usageBy(NODES, "team").map(({ name, input, unpriced }) => [name, input, unpriced]), [["red", 1000, 0], ["blue", 60, 3], ["", 0, 0]]);
  assert.equal(otherRequests(NODES), 5);
});

test("an unknown price is unknown, and not 0", () => {
  const costs = Object.fromEntries(usageBy(NODES, "model").map((row) => [row.name, cost(row)]));
  assert.deepEqual(costs, { big: "1.25, and 1 answer of unknown price", small: "unknown", "": "unknown" });
  assert.equal(cost(usageBy([FIRST], "team")[0]), "1.25");
  const free = parse(line("requests", "free", "", 1, "counted"), isOfUsage);
  assert.equal(cost(usageBy([free], "model")[0]), "0.00");
});

test("a billionth is not rounded away", () => {
  const row = usageBy([parse(line("cost_billionths", "m", "", 1_000_000_001))], "model")[0];
  assert.equal(cost(row), "1.000000001");
});

test("nodes without llm-usage count nothing", () => {
  assert.equal(isCounted([parse("gatewright_policy_llm_budget_spent_total 3\nx 1", isOfUsage), null]), false);
  assert.equal(isCounted(NODES), true);
  assert.deepEqual(usageBy([null], "model"), []);
});
