// One node: what it serves, its executors and processes, and what is wrong with them.

import { lineChart } from "../lib/chart.js";
import { badge, empty, facts, heading, table } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { Sampler } from "../lib/executions.js";
import { figures, troubleList } from "../lib/figures.js";
import { ago, bytes, dateTime, duration, number } from "../lib/format.js";
import { pollPage } from "../lib/looking.js";
import { samples, total } from "../lib/metrics.js";
import { askNodes, drainOf, isDrained, labelsOf, wantedOn } from "../lib/nodes.js";
import { patch } from "../lib/patch.js";
import { href } from "../lib/router.js";
import { requestCharts, requestSources } from "../lib/traffic.js";
import { left, ofNode, policyLink, stageOf } from "../lib/troubles.js";

export const page = { title: "Node", show };

/** @typedef {import("../lib/metrics.js").Metrics} Metrics */

const SECONDS = 2;
const HISTORY = 450; // of what is a value now, not a count: 15 minutes

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { id }, signal) {
  const sampler = new Sampler(requestSources());
  const wanted = (/** @type {string} */ name) => sampler.wants(name) || /^(gatewright_(?!ex|body_bytes)|gatewright_executor_|envoy_overload_)/.test(name);
  const charts = new Charts();
  const [above, below] = [el("div"), el("div")];
  root.append(heading(id), above, el("h2", null, "Since this page was opened"), el("div", { class: "charts" }, charts.elements), below);
  await pollPage(root, SECONDS, signal, async () => {
    const [report] = await askNodes(signal, { id, stats: true, notes: true, metrics: wanted });
    sampler.add([report]);
    charts.add(sampler, report.metrics);
    patch(above, troubleList(ofNode(report), "This node has no problems."), headline(report));
    patch(below, apisOf(report.node), report.stats ? executorsOf(report.stats) : null, report.metrics ? processesOf(report.metrics) : null, report.stats ? restOf(report) : null);
  });
}

class Charts {
  constructor() {
    /** @type {{at: number, memory: Record<string, number>, busy: number, queued: number}[]} */
    this.values = [];
    this.requests = requestCharts();
    this.workers = lineChart("Executors", (value) => number(Math.round(value * 10) / 10), { about: "Workers that run a policy, and executions that wait for one." });
    this.memory = lineChart("Memory", bytes, { about: "Resident, by component.", binary: true });
    this.elements = [...this.requests.elements, this.workers.element, this.memory.element];
  }

  /** @param {Sampler} sampler @param {Metrics | null} metrics */
  add(sampler, metrics) {
    this.requests.update(sampler);
    if (!metrics) return;
    const memory = Object.fromEntries(samples(metrics, "gatewright_process_memory_bytes").map(({ labels, value }) => [labels.component, value]));
    this.values.push({ at: Date.now(), memory, busy: total(metrics, "gatewright_executor_workers_busy"), queued: total(metrics, "gatewright_executor_queue_depth") });
    if (this.values.length > HISTORY) this.values.shift();
    const seen = this.values.map(({ at }) => at);
    this.workers.update({ times: seen, series: [
      { name: "workers busy", values: this.values.map(({ busy }) => busy) }, { name: "queued", values: this.values.map(({ queued }) => queued) },
    ] });
    const components = [...new Set(this.values.flatMap((moment) => Object.keys(moment.memory)))].slice(0, 5);
    this.memory.update({ times: seen, series: components.map((name) => ({ name, values: this.values.map((moment) => moment.memory[name] ?? null) })) });
  }
}

/** @param {import("../lib/nodes.js").NodeReport} report */
function headline({ node, stats, metrics }) {
  return [
    figures([
      ["APIs served", `${number(node.apis.length)} of ${number(wantedOn(node))}`, [node.states.rejected, node.states.pending].some(Boolean) ? `${number(node.states.rejected)} rejected, ${number(node.states.pending)} pending` : null],
      ["Exchanges under way", stats ? number(stats.extProc.active) : "–", stats ? `${number(stats.extProc.exchanges)} since the start` : null],
      ["Quarantined", stats ? number(stats.quarantined.length) : "–", "policy instances"],
      ["Memory", metrics ? bytes(total(metrics, "gatewright_process_memory_bytes")) : "–", "of all processes"],
      ["Restarts", metrics ? number(total(metrics, "gatewright_process_restarts_total")) : "–", "since the node's start"],
      ["Generation", metrics ? number(total(metrics, "gatewright_generation")) : "–", metrics ? `${number(total(metrics, "gatewright_reloads_total", { result: "reloaded" }))} reloads` : null],
    ]),
    facts([
      ["Engine", node.engineVersion],
      ["Connected", `${dateTime(node.connectedAt)}, ${ago(node.connectedAt)}`],
      ["Labels", labelsOf(node) || "none"],
      ["State", isDrained(node) ? badge(drainOf(node, ago), "warn") : drainOf(node, ago)],
      ["Gateway", [badge(node.gateway.state), node.gateway.reason ? ` ${node.gateway.reason}` : null]],
      ["Revision", stats ? number(stats.node.revision) : "–"],
      ["Metrics for Prometheus", stats?.listener ? el("code", null, `http://${stats.listener}/metrics`) : "not served"],
    ]),
  ];
}

/** @param {any} node */
function apisOf(node) {
  const states = ["rejected", "pending"].flatMap((state) => node[state].map((/** @type {any} */ api) => ({ ...api, state })));
  const served = node.apis.filter((/** @type {any} */ api) => !states.some(({ name }) => name === api.name)).map((/** @type {any} */ api) => ({ ...api, state: "deployed", reason: "" }));
  const rows = [...states, ...served].map(({ name, state, reason }) => [el("a", { href: href(["apis", name]) }, name), badge(state), reason || el("span", { class: "quiet" }, "none")]);
  return [el("h2", null, "APIs"), rows.length ? table("APIs", ["API", "State", "Reason"], rows) : empty("The node serves no API.")];
}

const EXECUTOR = ["Process", "Role", "State", "Generation", "Workers busy", "Hung", "Queued", "Under way", "Executions", "Health"];

/** @param {any} stats */
function executorsOf({ executors, quarantined }) {
  const groups = [...new Set(executors.map((/** @type {any} */ executor) => executor.group))];
  const hung = executors.flatMap((/** @type {any} */ executor) => (executor.hung ?? []).map((/** @type {any} */ execution) => ({ ...execution, pid: executor.pid })));
  return [
    el("h2", null, "Executors"),
    groups.length ? null : empty("The build has no Python policies."),
    groups.map((group) => {
      const own = executors.filter((/** @type {any} */ executor) => executor.group === group);
      return [el("h3", null, "Group ", el("code", null, group)), table(`Executors of group ${group}`, EXECUTOR, own.map(executorRow))];
    }),
    hung.length ? [el("h3", null, "Hung executions"), table("Hung executions", ["Policy", "API", "Process", "Executions", "The oldest for", "Answers"], hung.map(hungRow))] : null,
    quarantined.length ? [el("h3", null, "Quarantined policy instances"), table("Quarantined policy instances", ["Policy", "API", "Group", "Crashes", "Held at", "Retry"], quarantined.map(quarantineRow))] : null,
  ];
}

/** @param {any} executor */
function executorRow(executor) {
  return [
    `pid ${executor.pid || "?"}`,
    executor.role,
    stateOf(executor),
    number(executor.generation),
    `${number(executor.workersBusy)} of ${number(executor.workers)}`,
    executor.workersHung ? badge(String(executor.workersHung), "bad") : "0",
    number(executor.queued),
    number(executor.underWay),
    number(executor.executionsStarted),
    executor.connected ? `${duration(executor.silentMs)} ago` : "–",
  ];
}

/** @param {any} executor */
function stateOf(executor) {
  const wrong = [
    executor.stalled && "stalled", executor.memoryExhausted && "out of memory", executor.threadFailed && "thread failed",
    !executor.connected && "not connected", executor.connected && !executor.serving && "not serving",
  ].filter(Boolean);
  return wrong.length ? wrong.map((text) => badge(text, "bad")) : badge("ready");
}

/** @param {any} hung */
function hungRow(hung) {
  return [el("a", { href: policyLink(hung.policy) }, hung.policy), hung.api, `pid ${hung.pid}`, number(hung.count), duration(hung.oldestMs), hung.blocksInstance ? badge("no more", "bad") : "yes"];
}

/** @param {any} quarantined */
function quarantineRow(quarantined) {
  const until = dateTime(new Date(Date.now() + quarantined.leftMs).toISOString());
  return [el("a", { href: policyLink(quarantined.policy) }, quarantined.policy), quarantined.api, quarantined.group, number(quarantined.deaths), quarantined.heldAt || "–", `in ${duration(quarantined.leftMs)}, at ${until.split(" ")[1]}`];
}

/** @param {Metrics} metrics */
function processesOf(metrics) {
  const components = samples(metrics, "gatewright_process_up");
  const rows = components.map(({ labels, value }) => {
    const own = { component: labels.component };
    const restarts = total(metrics, "gatewright_process_restarts_total", own);
    const memory = total(metrics, "gatewright_process_memory_bytes", own);
    return [labels.component, value ? badge("ready") : badge("down"), number(value), memory ? bytes(memory) : "–", restarts ? badge(String(restarts), "warn") : "0"];
  });
  const recycled = samples(metrics, "gatewright_executor_recycled_total").filter(({ value }) => value > 0);
  return [
    el("h2", null, "Processes"),
    rows.length ? table("Processes", ["Component", "State", "Ready", "Memory", "Restarts"], rows) : empty("The supervisor does not report its metrics."),
    recycled.length ? [el("h3", null, "Executors that were replaced"), table("Executors that were replaced", ["Group", "Reason", "Count"], recycled.map(({ labels, value }) => [labels.group, labels.reason, number(value)]))] : null,
  ];
}

/** @param {import("../lib/nodes.js").NodeReport} report */
function restOf({ node, stats }) {
  const certificates = Object.entries(stats.node.certificates ?? {}).sort();
  return [
    el("h2", null, "Certificates"),
    certificates.length
      ? table("Certificates", ["Name", "Ends", "Left"], certificates.map(([name, certificate]) => [name, dateTime(certificate.ends), leftOf(certificate)]))
      : empty("The Gateway has no certificates."),
    el("h2", null, "Policies of the build"),
    table("Policies of the build", ["Policy", "Version"], node.policies.map((/** @type {any} */ policy) => [el("a", { href: href(["policies", policy.name, policy.version]) }, policy.name), policy.version])),
  ];
}

/** @param {any} certificate */
function leftOf(certificate) {
  const stage = stageOf(certificate, Date.now());
  if (stage === "expired") return badge("expired", "bad");
  const long = left(certificate.ends, Date.now());
  return [stage ? badge(long, "warn") : long, certificate.renewed ? el("span", { class: "quiet" }, " renewed by ACME") : null];
}
