/** As much of an exchange as a line of a list shows. */

import { cut } from "../visible_text.js";
import { CANCELLED, CONTINUED, FAILED, target } from "./recorded.js";
import { notes } from "./verdict.js";

/**
 * @typedef {{
 *   key: string, id: string, startedAt: string, durationMs: number, status: number, method: string, target: string,
 *   api: string, operation: string, answeredBy: string, notes: string[], badges: string[],
 * }} Summary  key: of this exchange alone: clients may send a request id twice; status: 0 where none was seen
 */

const LONGEST = { target: 512, name: 256, note: 512 };
const MOST_NOTES = 8;

/** @param {import("./recorded.js").Exchange} exchange @returns {Summary} */
export function summary(exchange) {
  return {
    key: `${exchange.node}/${exchange.id}/${exchange.startedAt}`,
    id: exchange.id,
    startedAt: exchange.startedAt,
    durationMs: exchange.durationMs,
    status: exchange.response?.status ?? 0,
    method: short(exchange.request.method, LONGEST.name),
    target: short(target(exchange), LONGEST.target),
    api: short(exchange.api, LONGEST.name),
    operation: short(exchange.operation, LONGEST.name),
    answeredBy: exchange.answeredBy ?? "",
    notes: notes(exchange).slice(0, MOST_NOTES).map((note) => short(note, LONGEST.note)),
    badges: badges(exchange),
  };
}

/** Badges of what is out of the ordinary. @param {import("./recorded.js").Exchange} exchange */
function badges({ outcome, executions }) {
  const badges = [];
  if (outcome === FAILED || executions.some((execution) => execution.outcome === FAILED && !execution.shadow)) badges.push(FAILED);
  if (outcome === CANCELLED) badges.push(CANCELLED);
  if (executions.some((execution) => execution.outcome === CONTINUED && !execution.shadow)) badges.push(CONTINUED);
  if (executions.some((execution) => execution.shadow)) badges.push("shadow");
  return badges;
}

/** A copy, so that a piece of a long text does not keep all of it in memory. @param {string | undefined} text @param {number} most */
function short(text = "", most) {
  return text.length <= most ? text : JSON.parse(JSON.stringify(cut(text, most)));
}
