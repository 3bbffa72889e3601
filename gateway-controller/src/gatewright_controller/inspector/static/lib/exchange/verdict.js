/** What became of an exchange, and because of whom, in the words of `gatewright explain` and `gatewright tail`. */

import { ANSWERED, CANCELLED, CONTINUED, FAILED, phaseOf } from "./recorded.js";

/**
 * @typedef {import("./recorded.js").Exchange} Exchange
 * @typedef {import("./recorded.js").Execution} Execution
 */

/** @type {Record<string, string>} */
const SAID = { [FAILED]: "failed", [CONTINUED]: "failed and was passed over", [ANSWERED]: "answered" };

/** @type {Record<string, string>} */
const ANSWERERS = { proxy: "Envoy", gateway: "the gateway" };

/**
 * In a few words each: the policies that failed or answered, and what else is out of the ordinary.
 *
 * @param {Exchange} exchange
 * @returns {string[]}
 */
export function notes(exchange) {
  const found = exchange.executions.map(noteOf).filter((note) => note !== "");
  const who = ANSWERERS[exchange.answeredBy ?? ""];
  if (who) found.push(exchange.details ? `${who} answered: ${exchange.details}` : `${who} answered`);
  if (exchange.outcome === CANCELLED) found.push("the client went away");
  if (exchange.outcome === FAILED) found.push(exchange.error ? `failed: ${exchange.error}` : "failed");
  return [...new Set(found)];
}

/** @param {Execution} execution */
function noteOf({ policy, outcome, failure, shadow, comparison }) {
  const kind = failure ? `: ${failure.class}` : "";
  if (!shadow) return SAID[outcome] ? `${policy} ${SAID[outcome]}${kind}` : "";
  if (comparison === "different") return `${policy} in shadow: different`;
  return outcome === FAILED ? `${policy} in shadow: failed${kind}` : "";
}

/** What a shadow attachment came to, beside what it is compared with. @param {Exchange} exchange @param {Execution} execution */
export function comparison({ policies = [] }, { comparison = "", comparedWith = -1 }) {
  const other = policies[comparedWith];
  if (!comparison) return "";
  if (!other) return comparison === "same" ? "the same as no change" : "it would change the exchange";
  return comparison === "same" ? `the same as ${other}` : `it differs from ${other}`;
}

/** One sentence: who answered what, and why. @param {Exchange} exchange */
export function verdict(exchange) {
  if (!exchange.response) return unanswered(exchange);
  return `answered ${exchange.response.status ?? 0} by ${by(exchange)}`;
}

/** @param {Exchange} exchange */
function unanswered({ outcome, error }) {
  const reason = error ? `: ${error}` : "";
  if (outcome === "completed") {
    return "passed on; no policy looks at the response, so that the engine is not shown it";
  }
  return outcome === CANCELLED ? `not answered, for the client went away${reason}` : `not answered${reason}`;
}

/** @param {Exchange} exchange */
function by(exchange) {
  const { answeredBy = "", details = "" } = exchange;
  switch (answeredBy) {
    case "policy": {
      const execution = lastWith(exchange, ANSWERED);
      return execution ? `${execution.policy} in its ${phaseOf(execution)} phase` : "a policy";
    }
    case "failure": {
      const execution = lastWith(exchange, FAILED);
      return execution ? failing(execution) : `the gateway (${details})`;
    }
    case "proxy":
      return details ? `Envoy (${details})` : "Envoy";
    case "gateway":
      return `the gateway (${details})`;
    case "upstream":
      return "the upstream";
  }
  return answeredBy || "nobody that is known";
}

/** @param {Execution} execution */
function failing(execution) {
  const { policy, failure } = execution;
  const said = failure ? `: ${failure.class}: ${failure.message}` : "";
  return `the gateway, for ${policy} failed in its ${phaseOf(execution)} phase${said}`;
}

/**
 * The last execution that came out like this and counted.
 *
 * @param {Exchange} exchange
 * @param {string} outcome
 */
export function lastWith({ executions }, outcome) {
  return executions.findLast((one) => one.outcome === outcome && !one.shadow);
}
