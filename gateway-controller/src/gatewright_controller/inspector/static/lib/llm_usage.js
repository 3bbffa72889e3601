// Tokens and cost of language models, by the counters of llm-usage.

import { number } from "./format.js";
import { increases } from "./metrics.js";

/** @typedef {import("./metrics.js").Metrics} Metrics */
/**
 * @typedef {object} Usage
 * @property {string} name the value of the label; "": it has none
 * @property {number} requests to models
 * @property {number} counted answers whose usage was counted
 * @property {number} input tokens
 * @property {number} output tokens
 * @property {number} billionths of the prices' currency, of the answers that have a price
 * @property {number} unpriced answers with usage, but without a price
 * @property {number} withoutUsage answers that have no usage
 */
/** @typedef {"model" | "team" | "client"} Label */

const PREFIX = "gatewright_policy_llm_";
const REQUESTS = `${PREFIX}requests_total`;
/** @type {Record<string, "input" | "output" | "billionths" | "unpriced">} */
const COUNTERS = {
  [`${PREFIX}input_tokens_total`]: "input", [`${PREFIX}output_tokens_total`]: "output",
  [`${PREFIX}cost_billionths_total`]: "billionths", [`${PREFIX}unpriced_total`]: "unpriced",
};

/** Which metrics are read. @param {string} name */
export function isOfUsage(name) {
  return name === REQUESTS || name in COUNTERS;
}

/** Whether llm-usage counts anywhere. @param {(Metrics | null)[]} nodes */
export function isCounted(nodes) {
  return nodes.some((metrics) => metrics?.has(REQUESTS));
}

/**
 * The sums over all nodes, the most tokens first. Requests that are none to a model are left out.
 * @param {(Metrics | null)[]} nodes
 * @param {Label} label
 * @returns {Usage[]}
 */
export function usageBy(nodes, label) {
  /** @type {Map<string, Usage>} */
  const rows = new Map();
  /** @param {string} name @returns {Usage} */
  const rowOf = (name) => {
    const row = rows.get(name) ?? { name, requests: 0, counted: 0, input: 0, output: 0, billionths: 0, unpriced: 0, withoutUsage: 0 };
    rows.set(name, row);
    return row;
  };
  for (const { labels, value } of all(nodes, REQUESTS)) {
    if (labels.outcome === "unknown_shape") continue;
    const row = rowOf(labels[label] ?? "");
    row.requests += value;
    if (labels.outcome === "counted") row.counted += value;
    if (labels.outcome === "no_usage") row.withoutUsage += value;
  }
  for (const [name, part] of Object.entries(COUNTERS)) for (const { labels, value } of all(nodes, name)) rowOf(labels[label] ?? "")[part] += value;
  return [...rows.values()].sort((a, b) => b.input + b.output - (a.input + a.output) || (a.name < b.name ? -1 : 1));
}

/** @param {(Metrics | null)[]} nodes @returns {number} requests that are none to a model */
export function otherRequests(nodes) {
  return all(nodes, REQUESTS).reduce((sum, { labels, value }) => sum + (labels.outcome === "unknown_shape" ? value : 0), 0);
}

/** The cost in words: what has no price is unknown, and not 0. @param {Usage} row */
export function cost({ billionths, unpriced, counted }) {
  const answers = unpriced === 1 ? "answer" : "answers";
  if (billionths) return unpriced ? `${money(billionths)}, and ${number(unpriced)} ${answers} of unknown price` : money(billionths);
  return unpriced || !counted ? "unknown" : money(0);
}

/** @param {number} billionths */
function money(billionths) {
  return (billionths / 1e9).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 9 });
}

/** Counters begin at zero with the process that counts. @param {(Metrics | null)[]} nodes @param {string} name */
function all(nodes, name) {
  return nodes.flatMap((metrics) => (metrics ? increases(new Map(), metrics, name) : []));
}
