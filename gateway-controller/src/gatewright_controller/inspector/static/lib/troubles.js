// Problems, what they mean, and what to do. Pure functions of the reports of the management API and of nodes.

import { samples } from "./metrics.js";
import { duration } from "./format.js";
import { asSentence, capital, notesAbout } from "./notes.js";
import { href } from "./router.js";

/** @typedef {import("./nodes.js").NodeReport} NodeReport */
/** @typedef {import("./nodes.js").Note} Note */
/**
 * @typedef {object} Trouble
 * @property {"bad" | "warn" | "info"} kind bad: requests fail, or policies do not run; warn: they will, or something is missing; info: it is over
 * @property {string} title
 * @property {string} meaning
 * @property {string} cure
 * @property {string} to an address of the Inspector's, "": none
 * @property {string} [party] that is responsible, if the node has named it
 */

const KINDS = ["bad", "warn", "info"];
const SILENT_MS = 5000;
const DAY = 86_400_000;
const FULL = 0.8;

/**
 * @param {any[]} apis as /v1/apis has them
 * @param {NodeReport[]} reports
 * @returns {Trouble[]} the worst first
 */
export function troubles(apis, reports) {
  const all = [...ofApis(apis, reports), ...ofUpstreams(apis, reports), ...(reports.length ? reports.flatMap(ofNode) : [NO_NODE])];
  return all.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
}

const NO_NODE = bad(
  "No node is connected",
  "The controller has no connection to a gateway runtime, so it does not know whether these APIs are served.",
  "Start a node, or look in its log for why it cannot reach the controller.",
);

/** @param {any[]} apis @param {NodeReport[]} reports @returns {Trouble[]} */
function ofApis(apis, reports) {
  const cures = new Map(notesAbout(reports, "api").map(({ note }) => [note.about.name, asSentence(note.cure)]));
  return apis.filter(({ status }) => status.state !== "deployed").map(({ metadata, status }) => {
    const to = href(["apis", metadata.name]);
    const why = status.reason || "no node has answered yet";
    return status.state === "rejected"
      ? bad(`API ${metadata.name} is rejected`, `Its newest version is not served: ${why}.`, "Fix the API, or build the gateway with the policies that it needs. Its last good version is still served, if it has one.", to)
      : warn(`API ${metadata.name} is pending`, `Its newest version is not served yet: ${why}.`, ["Nodes try again by themselves.", cures.get(metadata.name)].filter(Boolean).join(" "), to);
  });
}

/**
 * Of APIs that are deployed: of others their own state says more.
 * @param {any[]} apis @param {NodeReport[]} reports @returns {Trouble[]}
 */
function ofUpstreams(apis, reports) {
  const deployed = new Set(apis.filter(({ status }) => status.state === "deployed").map(({ metadata }) => metadata.name));
  return notesAbout(reports, "api").filter(({ note }) => deployed.has(note.about.name)).map(({ note, node }) => ofNote(note, reports.length > 1 ? ` on ${node}` : ""));
}

/** @param {Note} note @param {string} on @returns {Trouble} */
export function ofNote({ severity, party, about, title, reason, cure }, on) {
  return { kind: severity, title: `${capital(title)}${on}`, meaning: asSentence(reason), cure: asSentence(cure), to: pageOf(about), party };
}

/** @param {Note["about"]} about @returns {string} its page, "" where it has none of its own */
function pageOf({ kind, name }) {
  if (kind === "api") return href(["apis", name]);
  return kind === "policy" ? policyLink(name) : "";
}

/** @param {NodeReport} report @returns {Trouble[]} */
export function ofNode(report) {
  const { node, stats, metrics, notes, problem } = report;
  const on = ` on ${node.id}`;
  const troubles = [...ofGateway(node)];
  if (problem) troubles.push(warn(`Node ${node.id} does not report its state`, `${problem}.`, "This page may lack data about the node."));
  if (stats) troubles.push(...ofEngine(stats, on), ...ofExecutors(stats, on));
  troubles.push(...(notes ?? []).filter(({ about }) => about.kind !== "api").map((note) => ofNote(note, on)));
  if (metrics) troubles.push(...ofProcesses(metrics, on), ...ofEnvoy(metrics, on));
  return troubles.map((trouble) => ({ ...trouble, to: trouble.to || href(["nodes", node.id]) }));
}

/** @param {any} node @returns {Trouble[]} */
function ofGateway({ id, gateway }) {
  if (!["rejected", "pending"].includes(gateway.state)) return [];
  const make = gateway.state === "rejected" ? bad : warn;
  return [make(`The Gateway is ${gateway.state} on ${id}`, `The node keeps its last good listeners: ${gateway.reason || "it has not answered yet"}.`, "Change the Gateway as the reason says.")];
}

/** @param {any} stats @param {string} on @returns {Trouble[]} */
function ofEngine({ node, xds, bodies }, on) {
  const troubles = [];
  if (!xds.envoyConnected) troubles.push(bad(`Envoy is not connected to the engine${on}`, "Changes do not reach the data plane; if Envoy is down, nothing is served.", "The supervisor restarts Envoy. If Envoy does not come back, its log says why."));
  if (node.unserved) troubles.push(bad(`${count(node.unserved, "API")} not served${on}`, "Not even the last good version could be loaded: requests are answered 503.", "The API's page has the reason."));
  if (node.stateErrors) troubles.push(warn(`The state directory cannot be written to${on}`, `${count(node.stateErrors, "write")} failed: after a restart the node would serve an older state.`, "Check the free space and the permissions of the node's disk."));
  if (bodies.heldBytes > FULL * bodies.limitBytes) troubles.push(warn(`Memory for bodies is nearly full${on}`, "Requests whose bodies do not fit are answered 503.", "Raise --body-memory, or lower maxBodyBytes and concurrency of policies that read bodies."));
  return troubles;
}

/** @param {any} stats @param {string} on @returns {Trouble[]} */
function ofExecutors({ executors }, on) {
  const groups = new Set(executors.map((/** @type {any} */ executor) => executor.group));
  const down = [...groups].filter((group) => !executors.some((/** @type {any} */ executor) => executor.group === group && executor.connected && executor.serving && !executor.stalled && executor.role !== "leaving"));
  return [
    ...down.map((group) => bad(`No executor of group ${group} serves${on}`, "Requests that need a policy of this group are answered 503.", "The supervisor restarts the process; the log of python-executor says why it ended.")),
    ...executors.filter((/** @type {any} */ executor) => executor.role !== "leaving").flatMap((/** @type {any} */ executor) => ofExecutor(executor, `${executor.group} (pid ${executor.pid || "?"})${on}`)),
  ];
}

/** @param {any} process @param {string} name @returns {Trouble[]} */
function ofExecutor(process, name) {
  const troubles = (process.hung ?? []).map((/** @type {any} */ hung) =>
    bad(
      `${hung.policy} hangs in executor ${name}`,
      `${count(hung.count, "execution")} for API ${hung.api} still ${hung.count === 1 ? "runs" : "run"} long after the deadline, the oldest for ${duration(hung.oldestMs)}, and ${hung.count === 1 ? "holds a worker" : "hold workers"}${hung.blocksInstance ? "; the policy no longer answers in this process" : ""}.`,
      "Set a timeout on the call that the policy waits for. The process is replaced once too many of its workers are held.",
      policyLink(hung.policy),
    ),
  );
  if (process.connected && process.silentMs > SILENT_MS) troubles.push(bad(`Executor ${name} is silent`, `It has answered no health check for ${duration(process.silentMs)}.`, "The supervisor kills and restarts the process. Look for a policy that holds the interpreter."));
  if (process.stalled) troubles.push(bad(`Executor ${name} is stalled`, "Hung executions hold all of its workers; it gets no requests.", "The process is replaced automatically. Fix the policy that hangs."));
  if (process.memoryExhausted) troubles.push(bad(`Executor ${name} is out of memory`, "An allocation failed in the process.", "The process is replaced automatically. Raise --executor-memory-limit, or look for the policy whose memory grows."));
  if (process.threadFailed) troubles.push(bad(`Executor ${name} has lost a thread`, "A thread that the process needs has failed.", "The process is replaced automatically; its log says what failed."));
  if (process.workers && process.workersBusy >= process.workers) troubles.push(warn(`All workers of executor ${name} are busy`, `${process.workers} executions run at once, and others wait: ${process.queued} are queued.`, "Raise --executors or --py.max-workers, or make the slow policy async."));
  return troubles;
}

/**
 * The stage of a certificate, by the times that the engine reports.
 * @param {{ends: string, soon: string}} certificate @param {number} now @returns {"" | "soon" | "expired"}
 */
export function stageOf({ ends, soon }, now) {
  if (now >= new Date(ends).getTime()) return "expired";
  return now >= new Date(soon).getTime() ? "soon" : "";
}

/** @param {string} ends @param {number} now @returns {string} `5 days`, `7 h 30 min` */
export function left(ends, now) {
  const ms = new Date(ends).getTime() - now;
  return ms < 2 * DAY ? duration(ms) : `${Math.floor(ms / DAY)} days`;
}

/** @param {import("./metrics.js").Metrics} metrics @param {string} on @returns {Trouble[]} */
function ofProcesses(metrics, on) {
  const down = samples(metrics, "gatewright_process_up").filter(({ value }) => value === 0);
  const restarted = samples(metrics, "gatewright_process_restarts_total").filter(({ value }) => value > 0);
  return [
    ...down.map(({ labels }) => bad(`No process of ${labels.component} is ready${on}`, "The component is down or still starting.", "The supervisor restarts it after growing delays. Its log says why it ended.")),
    ...restarted.map(({ labels, value }) => info(`${labels.component} was restarted ${value === 1 ? "once" : `${value} times`}${on}`, "It exited or was killed since the node started.", `The log of ${labels.component} has the reason.`)),
  ];
}

/** @param {import("./metrics.js").Metrics} metrics @param {string} on @returns {Trouble[]} */
function ofEnvoy(metrics, on) {
  const overloaded = [...metrics.keys()].filter((name) => /^envoy_overload_.*_active$/.test(name) && samples(metrics, name).some(({ value }) => value > 0));
  if (!overloaded.length) return [];
  return [bad(`Envoy is overloaded${on}`, `Envoy refuses some of the load to stay alive: ${overloaded.map((name) => name.slice("envoy_overload_".length, -"_active".length).replaceAll("_", " ")).join(", ")}.`, "Give Envoy more memory or connections, or reduce the load.")];
}

/** @param {string} policy name:version */
export function policyLink(policy) {
  return href(["policies", ...policy.split(":")]);
}

/** @param {number} number @param {string} noun @param {string} [plural] */
function count(number, noun, plural = `${noun}s`) {
  return `${number} ${number === 1 ? noun : plural}`;
}

/** @param {string} title @param {string} meaning @param {string} cure @param {string} [to] @returns {Trouble} */
function bad(title, meaning, cure, to = "") {
  return { kind: "bad", title, meaning, cure, to };
}

/** @param {string} title @param {string} meaning @param {string} cure @param {string} [to] @returns {Trouble} */
function info(title, meaning, cure, to = "") {
  return { kind: "info", title, meaning, cure, to };
}

/** @param {string} title @param {string} meaning @param {string} cure @param {string} [to] @returns {Trouble} */
function warn(title, meaning, cure, to = "") {
  return { kind: "warn", title, meaning, cure, to };
}
