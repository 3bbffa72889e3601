/** The outcome of an exchange, and the party that caused it: in the sentences of sentences.json, as `gatewright explain` does. */

import { ANSWERED, FAILED, phaseOf } from "./recorded.js";
import SENTENCES from "./sentences.json" with { type: "json" };

/**
 * @typedef {import("./recorded.js").Exchange} Exchange
 * @typedef {import("./recorded.js").Execution} Execution
 * @typedef {Record<string, string | undefined>} Facts  by the names that sentences have
 */

const NAME = /\{(\w+)\}/g;
/** @type {Record<string, string>} */
const CAUSES = { policy: ANSWERED, failure: FAILED };
/** @type {Record<string, string>} */
const PARTIES = { client: "the client's", upstream: "the upstream's", gateway: "the gateway's" };

/** One sentence: the party that answered, what, and why. @param {Exchange} exchange */
export function verdict(exchange) {
  const { response, answeredBy = "", details, outcome, error, cause: proxys } = exchange;
  if (!response) return sentence(SENTENCES.unanswered, outcome, { error });
  const cause = lastWith(exchange, CAUSES[answeredBy]);
  const facts = { status: String(response.status ?? 0), answeredBy, details, reason: proxys?.reason, ...(cause && factsOf(cause)) };
  return sentence(SENTENCES.answered, answeredBy, facts);
}

/** The party at fault where Envoy answered by itself. @param {import("./recorded.js").Cause} cause */
export function fault({ party, code, flags }) {
  return `${PARTIES[party] ?? party}: ${code}${flags ? ` (${flags})` : ""}`;
}

/**
 * In a few words each: the policies that failed or answered, and what else is out of the ordinary.
 *
 * @param {Exchange} exchange
 * @returns {string[]}
 */
export function notes({ executions, answeredBy = "", details, outcome, error, cause }) {
  const texts = executions.map(noteOf);
  texts.push(sentence(SENTENCES.answerers, answeredBy, { details, reason: cause?.reason }), sentence(SENTENCES.outcomes, outcome, { error }));
  return [...new Set(texts)].filter((note) => note !== "");
}

/** @param {Execution} execution */
function noteOf(execution) {
  const { shadow, comparison, outcome } = execution;
  if (!shadow) return sentence(SENTENCES.executions, outcome, factsOf(execution));
  return sentence(SENTENCES.shadows, comparison === "different" ? comparison : outcome, factsOf(execution));
}

/** The result of a shadow attachment's comparison. @param {Exchange} exchange @param {Execution} execution */
export function comparison({ policies = [] }, { comparison = "", comparedWith = -1 }) {
  return sentence(SENTENCES.comparisons, comparison, { policy: policies[comparedWith] });
}

/** @param {Execution} execution @returns {Facts} */
function factsOf(execution) {
  const { policy, failure } = execution;
  return { policy, phase: phaseOf(execution), class: failure?.class, message: failure?.message };
}

/**
 * The first of the table's sentences for `key` whose names are all known; "" without such a sentence.
 *
 * @param {Record<string, string[]>} table
 * @param {string} key
 * @param {Facts} facts
 */
function sentence(table, key, facts) {
  const sentences = Object.hasOwn(table, key) ? table[key] : (table.other ?? []);
  const template = sentences.find((text) => [...text.matchAll(NAME)].every(([, name]) => facts[name]));
  return template?.replace(NAME, (_, name) => facts[name] ?? "") ?? "";
}

/**
 * The last execution that came out like this and counted.
 *
 * @param {Exchange} exchange
 * @param {string} outcome
 */
export function lastWith({ executions }, outcome) {
  return executions.findLast((execution) => execution.outcome === outcome && !execution.shadow);
}
