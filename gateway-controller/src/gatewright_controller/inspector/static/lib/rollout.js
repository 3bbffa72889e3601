// The rollout of a write: each node acknowledges it, or says why not.

import { get, Problem } from "./api.js";
import { pause } from "./poll.js";

/**
 * Reports an API's status until no node is pending.
 * @param {string} path of the API
 * @param {(status: any) => void} report
 * @param {AbortSignal} signal
 */
export async function follow(path, report, signal) {
  while (!signal.aborted) {
    try {
      const status = await get(`${path}/status`, { signal });
      report(status);
      if (status.state !== "pending" && status.nodes.every((/** @type {any} */ node) => node.state !== "pending")) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem) || error.status === 404) throw error;
    }
    await pause(700, signal);
  }
}

/**
 * @param {any} status of an API
 * @returns {string} for users who do not see the table
 */
export function inWords({ state, reason, nodes }) {
  if (!nodes.length) return "Written. No node is connected; the API is served as soon as a node connects.";
  const count = nodes.filter((/** @type {any} */ node) => node.state === "deployed").length;
  const all = `${count} of ${nodes.length} ${nodes.length === 1 ? "node" : "nodes"}`;
  if (state === "deployed") return `Live on ${all}.`;
  return `Live on ${all}; ${state} on others: ${reason}`;
}
