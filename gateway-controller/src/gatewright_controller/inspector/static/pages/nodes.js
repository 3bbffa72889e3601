// The nodes that are connected: what each runs, and what is wrong there.

import { badge, empty, heading, table } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { totalOrNone, troubleList } from "../lib/figures.js";
import { ago, bytes, number } from "../lib/format.js";
import { pollPage } from "../lib/looking.js";
import { askNodes, isDrained, labelsOf, wantedOn } from "../lib/nodes.js";
import { patch } from "../lib/patch.js";
import { href } from "../lib/router.js";
import { ofNode, troubles } from "../lib/troubles.js";

export const page = { title: "Nodes", show };

const SECONDS = 3;
const COLUMNS = ["Node", "State", "Engine", "Connected", "APIs", "Executors", "Workers busy", "Quarantined", "Memory", "Restarts", "Generation", "Labels"];

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, _, signal) {
  const wrong = el("div");
  const list = el("div");
  root.append(heading("Nodes"), wrong, list);
  await pollPage(root, SECONDS, signal, async () => {
    const reports = await askNodes(signal, { stats: true, notes: true, metrics: (name) => name.startsWith("gatewright_") && !name.endsWith("_bucket") || name.startsWith("envoy_overload_") });
    const all = troubles([], reports);
    patch(wrong, troubleList(all, "No node has problems."));
    patch(list, reports.length ? table("Nodes", COLUMNS, reports.map(row)) : empty("No node is connected."));
  });
}

/** @param {import("../lib/nodes.js").NodeReport} report */
function row(report) {
  const { node, stats, metrics } = report;
  const problems = ofNode(report).filter(({ kind }) => kind !== "info");
  const serious = problems.filter(({ kind }) => kind === "bad").length;
  const executors = (stats?.executors ?? []).filter((/** @type {any} */ executor) => executor.role === "serving");
  const workers = sum(executors, "workers");
  return [
    el("a", { href: href(["nodes", node.id]) }, node.id),
    [
      problems.length ? badge(`${problems.length} ${problems.length === 1 ? "problem" : "problems"}`, serious ? "bad" : "warn") : isDrained(node) ? null : badge("healthy", "good"),
      isDrained(node) ? badge(node.drain.state, "warn") : null,
    ],
    node.engineVersion,
    ago(node.connectedAt),
    apisOf(node),
    stats ? number(executors.length) : "–",
    stats ? `${number(sum(executors, "workersBusy"))} of ${number(workers)}` : "–",
    stats ? (stats.quarantined.length ? badge(String(stats.quarantined.length), "bad") : "0") : "–",
    totalOrNone(metrics, "gatewright_process_memory_bytes", bytes),
    totalOrNone(metrics, "gatewright_process_restarts_total", number),
    totalOrNone(metrics, "gatewright_generation", number),
    labelsOf(node) || "–",
  ];
}

/** @param {any} node */
function apisOf(node) {
  const parts = [`${number(node.apis.length)} of ${number(wantedOn(node))}`];
  for (const state of ["rejected", "pending"]) if (node.states[state]) parts.push(`${number(node.states[state])} ${state}`);
  return parts.join(", ");
}

/** @param {any[]} all @param {string} member */
function sum(all, member) {
  return all.reduce((total, executor) => total + executor[member], 0);
}
