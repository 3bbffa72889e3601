// Reports of all nodes, through the controller.

import { get, getAll, Problem } from "./api.js";
import { may } from "./caller.js";
import { parse } from "./metrics.js";

/** @typedef {import("./metrics.js").Metrics} Metrics */
/**
 * A problem at a node, in the words of its engine: `gatewright status` shows the same notes.
 * @typedef {object} Note
 * @property {"bad" | "warn"} severity
 * @property {string} party that is responsible: "upstream", "policy", "operator" or "gateway"
 * @property {{kind: string, name: string, api?: string}} about
 * @property {string} title begins in lower case and ends without a full stop, as reason and cure do
 * @property {string} reason
 * @property {string} cure
 */
/**
 * @typedef {object} NodeReport
 * @property {any} node as /v1/nodes has it
 * @property {Metrics | null} metrics null: the node does not report them
 * @property {any} stats null: the node does not report them
 * @property {Note[] | null} [notes] problems at the node; null: the node does not report them
 * @property {string} problem why a part is missing; "": nothing is
 */

/**
 * @param {AbortSignal} signal
 * @param {{metrics?: (name: string) => boolean, stats?: boolean, notes?: boolean, id?: string}} wanted metrics: of these names; id: of one node
 * @returns {Promise<NodeReport[]>} of each node that is connected, by name; none for a caller who may not ask nodes
 */
export async function askNodes(signal, wanted) {
  if (!may("nodes:inspect")) return [];
  const nodes = wanted.id ? [await get(pathOf(wanted.id), { signal })] : (await getAll("/v1/nodes", { signal })).nodes;
  return Promise.all(nodes.map((/** @type {any} */ node) => askNode(node, signal, wanted)));
}

/** @param {any} node @param {AbortSignal} signal @param {Parameters<typeof askNodes>[1]} wanted @returns {Promise<NodeReport>} */
async function askNode(node, signal, wanted) {
  const path = pathOf(node.id);
  /** @param {string} name */
  const ask = (name) => get(`${path}/${name}`, { signal, accept: name === "metrics" ? "text/plain" : "application/json" });
  const names = ["metrics", "stats"].filter((name) => wanted[/** @type {"metrics" | "stats"} */ (name)]);
  const known = names.every((name) => node.documents.includes(name));
  if (!known) return { node, metrics: null, stats: null, notes: null, problem: unaskable(node) };
  const [metrics, stats, notes] = await Promise.allSettled([
    wanted.metrics ? ask("metrics") : null, wanted.stats ? ask("stats") : null, wanted.notes && node.documents.includes("notes") ? ask("notes") : null,
  ]);
  signal.throwIfAborted();
  const failed = [metrics, stats, notes].flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : []));
  for (const reason of failed) if (!(reason instanceof Problem) || [0, 401].includes(reason.status)) throw reason;
  const text = metrics.status === "fulfilled" ? metrics.value : null;
  return {
    node,
    metrics: text === null ? null : parse(text, wanted.metrics),
    stats: stats.status === "fulfilled" ? stats.value : null,
    notes: notes.status === "fulfilled" ? notes.value : null,
    problem: failed.length ? failed[0].detail : "",
  };
}

/** @param {any} node */
function unaskable(node) {
  return `its engine ${node.engineVersion} is too old to report metrics and stats; update the node to the controller's version`;
}

/** @param {any} node */
export function labelsOf(node) {
  return Object.entries(node.labels).map(([key, value]) => `${key}=${value}`).join(", ");
}

/** How many APIs the node is to serve. @param {any} node */
export function wantedOn({ states }) {
  return states.deployed + states.pending + states.rejected;
}

/** Whether it takes no new connections, or is about to take none. @param {any} node */
export function isDrained(node) {
  return ["draining", "drained"].includes(node.drain.state);
}

/** `drained, by token:ann since …: new kernel`, as far as it is known. @param {any} node @param {(time: string) => string} ago */
export function drainOf({ drain }, ago) {
  const by = drain.by ? `, by ${drain.by} ${ago(drain.since)}` : "";
  return `${drain.state === "unsupported" ? "serving" : drain.state}${by}${drain.reason ? `: ${drain.reason}` : ""}`;
}

/** @param {string} id */
function pathOf(id) {
  return `/v1/nodes/${encodeURIComponent(id)}`;
}
