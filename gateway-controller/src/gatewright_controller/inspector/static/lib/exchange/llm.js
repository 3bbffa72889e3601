// Words for an exchange with a language model. null is what its recording does not say, which is never shown as 0.

import { number } from "../format.js";

/**
 * @typedef {"whole" | "cut" | "absent" | "unreadable"} Recorded
 * @typedef {{input: number, output: number, cached: number, cacheWritten: number, reasoning: number}} Tokens
 * @typedef {{
 *   recorded: Recorded, streamed: boolean | null, texts: {kind: string, text: string}[],
 *   toolCalls: {name: string, arguments: string}[], finished: boolean | null,
 *   error: {type: string, message: string, code: string} | null,
 * }} Answer
 * @typedef {{
 *   shape: string, model: string | null, answerModel: string | null, streams: boolean | null,
 *   prompt: {recorded: Recorded, texts: {role: string, text: string}[], tools: string[]}, answer: Answer,
 *   usageFrom: "llm-usage" | "answer" | "none" | "unknown", tokens: Tokens | null, cost: string | null,
 *   outcome: string | null, client: string | null, team: string | null,
 *   budgets: {budget: string, unit: string | null, reserved: string | null, settled: string | null}[],
 *   verdict: string | null,
 *   findings: {direction: string, check: string, rule: string, action: string, details: Record<string, unknown>}[],
 * }} LlmExchange  as the management API's shape of this name
 */

/** @type {Record<string, string>} */
const OUTCOMES = {
  counted: "counted", no_usage: "the answer has no usage", aborted: "ended before its end", error: "an error",
};

/** Why a prompt or an answer is not there whole; "" for one that is. @param {Recorded} recorded @param {string} name */
export function missing(recorded, name) {
  return {
    whole: "",
    cut: `Only the beginning of the ${name} was recorded; the rest is unknown. spec.recording.bodyBytes of the Gateway is the limit.`,
    absent: `The ${name} is unknown: it was not recorded. Bodies are recorded only if a policy reads them.`,
    unreadable: `The ${name} is unknown: its encoding cannot be decoded.`,
  }[recorded];
}

/** Names and figures; null: unknown. @param {LlmExchange} llm @returns {[string, string | null][]} */
export function tokens({ tokens, usageFrom }) {
  if (!tokens) return [["Tokens", usageFrom === "none" ? "none were reported" : null]];
  /** @type {[string, string][]} */
  const shown = [
    ["Input tokens", number(tokens.input)], ["Output tokens", number(tokens.output)],
    ["Of the input cached", number(tokens.cached)], ["Of the output reasoning", number(tokens.reasoning)],
  ];
  return tokens.cacheWritten ? [...shown, ["Of the input written to the cache", number(tokens.cacheWritten)]] : shown;
}

/** @param {LlmExchange} llm */
export function cost({ cost, usageFrom }) {
  if (cost !== null) return cost;
  if (usageFrom === "none") return "none: the answer has no usage";
  return usageFrom === "llm-usage" ? "unknown: llm-usage has no price for the model" : "unknown: llm-usage has not counted it";
}

/** @param {LlmExchange} llm */
export function outcome({ outcome }) {
  return outcome === null ? "unknown: llm-usage has left none" : (OUTCOMES[outcome] ?? outcome);
}

/** Of a budget; money has no unit of its own. @param {string | null} exact @param {string | null} unit */
export function amount(exact, unit) {
  if (exact === null || unit !== "tokens") return exact;
  return `${exact.replace(/\B(?=(\d{3})+$)/g, ",")} tokens`;
}

/** @param {Answer} answer */
export function answerEnd({ finished }) {
  if (finished === null) return "It is unknown whether the answer came to its end.";
  return finished ? "The answer came to its end." : "The answer has no end: the client or the provider left, or an error ended it.";
}
