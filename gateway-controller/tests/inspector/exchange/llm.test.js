import assert from "node:assert/strict";
import test from "node:test";
import { amount, answerEnd, cost, missing, outcome, tokens } from "#lib/exchange/llm.js";

const ANSWER = /** @type {import("#lib/exchange/llm.js").Answer} */ ({
  recorded: "absent", streamed: null, texts: [], toolCalls: [], finished: null, error: null,
});
const UNKNOWN = /** @type {import("#lib/exchange/llm.js").LlmExchange} */ ({
  shape: "chat", model: null, answerModel: null, streams: null, prompt: { recorded: "absent", texts: [], tools: [] },
  answer: ANSWER, usageFrom: "unknown", tokens: null, cost: null, outcome: null, client: null, team: null, budgets: [],
  verdict: null, findings: [],
});
const COUNTS = { input: 1117, output: 46, cached: 0, cacheWritten: 0, reasoning: 10 };

test("what is unknown is no figure", () => {
  assert.deepEqual(tokens(UNKNOWN), [["Tokens", null]]);
  assert.equal(cost(UNKNOWN), "unknown: llm-usage has not counted it");
  assert.equal(outcome(UNKNOWN), "unknown: llm-usage has left none");
  assert.match(answerEnd(ANSWER), /unknown/);
  assert.equal(cost({ ...UNKNOWN, usageFrom: "llm-usage", tokens: COUNTS }), "unknown: llm-usage has no price for the model");
});

test("an answer without usage is not an unknown one", () => {
  assert.deepEqual(tokens({ ...UNKNOWN, usageFrom: "none" }), [["Tokens", "none were reported"]]);
  assert.match(cost({ ...UNKNOWN, usageFrom: "none" }), /no usage/);
});

test("tokens, with those of the cache if there are any", () => {
  const shown = tokens({ ...UNKNOWN, usageFrom: "answer", tokens: COUNTS });
  assert.deepEqual(shown.map(([, figure]) => figure), ["1,117", "46", "0", "10"]);
  const written = tokens({ ...UNKNOWN, usageFrom: "answer", tokens: { ...COUNTS, cacheWritten: 4 } });
  assert.deepEqual(written.at(-1), ["Of the input written to the cache", "4"]);
});

test("cost is exact, and outcomes have words", () => {
  assert.equal(cost({ ...UNKNOWN, usageFrom: "llm-usage", cost: "0.0000018" }), "0.0000018");
  assert.equal(outcome({ ...UNKNOWN, outcome: "aborted" }), "ended before its end");
  assert.equal(outcome({ ...UNKNOWN, outcome: "of a newer policy" }), "of a newer policy");
});

test("each way in which a text can be missing has a sentence", () => {
  assert.equal(missing("whole", "prompt"), "");
  for (const how of /** @type {const} */ (["cut", "absent", "unreadable"])) assert.match(missing(how, "prompt"), /prompt .*unknown/);
  assert.match(answerEnd({ ...ANSWER, finished: true }), /came to its end/);
  assert.match(answerEnd({ ...ANSWER, finished: false }), /has no end/);
});

test("amounts of budgets keep every digit", () => {
  assert.equal(amount("1234567", "tokens"), "1,234,567 tokens");
  assert.equal(amount("123456789012345678901", "tokens"), "123,456,789,012,345,678,901 tokens");
  assert.equal(amount("0.0000018", "money"), "0.0000018");
  assert.equal(amount(null, "tokens"), null);
});
