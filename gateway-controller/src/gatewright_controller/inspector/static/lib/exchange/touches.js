/** Which policies have changed a given header of a request or a response, or a given key of their metadata or analytics. */

import { ANSWERED, isOfRequest, phaseOf } from "./recorded.js";

/**
 * @typedef {import("./recorded.js").Change} Change
 * @typedef {import("./recorded.js").Exchange} Exchange
 * @typedef {import("./recorded.js").Execution} Execution
 * @typedef {import("./recorded.js").Message} Message
 *
 * @typedef {"request" | "response" | "metadata" | "analytics"} Place  the first two: the headers of it
 * @typedef {{execution: Execution, before?: string[], after?: string[]}} Touch
 *   before, after: the values; none where it was not there, or is no longer
 */

const APPLIED = new Set(["changed", ANSWERED]);

/**
 * By name, in the order of the changes. Changes of shadow attachments and failed policies are left out: they were not
 * applied.
 *
 * @param {Exchange} exchange
 * @param {Place} place
 * @returns {Map<string, Touch[]>}
 */
export function touches(exchange, place) {
  /** @type {Map<string, Touch[]>} */
  const byName = new Map();
  for (const execution of exchange.executions) {
    if (execution.shadow || !APPLIED.has(execution.outcome)) continue;
    for (const change of execution.changes ?? []) {
      for (const [name, touch] of touched(execution, change, place)) {
        byName.set(name, [...(byName.get(name) ?? []), touch]);
      }
    }
  }
  return byName;
}

/** @param {Execution} execution @param {Change} change @param {Place} place @returns {[string, Touch][]} */
function touched(execution, change, place) {
  const { what, name = "", before, after } = change;
  if (what === "answer" && place === "response") return answered(execution, change);
  const isHeader = what === "header" && isOfRequest(execution.phase) === (place === "request");
  if (place === "request" || place === "response" ? !isHeader : what !== place) return [];
  return [[name, { execution, before: values(before), after: values(after) }]];
}

/** An answer's headers are all its policy's. @param {Execution} execution @param {Change} change @returns {[string, Touch][]} */
function answered(execution, change) {
  const { headers = [] } = /** @type {Partial<Message>} */ (change.after ?? {});
  const names = [...new Set(headers.map(([name]) => name))];
  return names.map((name) => [
    name,
    { execution, after: headers.filter(([field]) => field === name).map(([, value]) => value) },
  ]);
}

/** @param {unknown} side @returns {string[] | undefined} */
function values(side) {
  if (side === undefined) return undefined;
  return Array.isArray(side) && side.every((value) => typeof value === "string") ? side : [JSON.stringify(side)];
}

/** "add-headers:v1.0.0, request". @param {Touch} touch */
export function authorOf({ execution }) {
  return `${execution.policy}, ${phaseOf(execution)}`;
}
