// What Envoy's counters say of the upstreams of APIs, as `gatewright status` notes it: nothing is sent to them to find out.

import { total } from "./metrics.js";

/** @typedef {import("./nodes.js").Told} Told */

const COUNTED = /^envoy_cluster_(upstream_cx_(connect_fail|total|active)|membership_(healthy|total))$/;

/** Metrics that the notes are made of. @param {string} name */
export function isOfUpstreams(name) {
  return COUNTED.test(name);
}

/**
 * @param {Told[]} told with `clusters`, and the metrics of `isOfUpstreams`
 * @returns {Map<string, string>} API → what stands in the way of its upstreams; nothing of an API without trouble
 */
export function upstreamNotes(told) {
  /** @type {Map<string, string>} */
  const notes = new Map();
  for (const { node, metrics, clusters } of told) {
    for (const [api, names] of Object.entries(metrics && clusters ? clusters : {})) {
      const found = [...new Set(names.map((name) => noteOf(/** @type {any} */ (metrics), name)).filter(Boolean))];
      const on = told.length > 1 ? ` (on ${node.id})` : "";
      if (found.length) notes.set(api, [notes.get(api), `${found.join("; ")}${on}`].filter(Boolean).join("; "));
    }
  }
  return notes;
}

/** @param {import("./metrics.js").Metrics} metrics @param {string} cluster @returns {string} */
function noteOf(metrics, cluster) {
  const count = (/** @type {string} */ name) => total(metrics, `envoy_cluster_${name}`, { envoy_cluster_name: cluster });
  const known = (metrics.get("envoy_cluster_membership_total") ?? []).some(({ labels }) => labels.envoy_cluster_name === cluster);
  if (!known) return "";
  const [targets, healthy] = [count("membership_total"), count("membership_healthy")];
  if (!targets) return "its upstream has no address: the name does not resolve";
  if (healthy < targets) return `${targets - healthy} of ${targets} targets fail their health check or are ejected: ${healthy} left`;
  const [failed, tried, active] = [count("upstream_cx_connect_fail"), count("upstream_cx_total"), count("upstream_cx_active")];
  return failed && !active ? `${failed} of ${tried} connections to its upstream failed, none is open` : "";
}
