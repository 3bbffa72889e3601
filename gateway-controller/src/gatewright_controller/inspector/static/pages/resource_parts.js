// What pages show of each kind of resource, beside what all have: columns of its list, and parts of its page.

import { badge, empty, facts, table } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { addressOf, KINDS, labelTexts } from "../lib/kinds.js";
import { visible } from "../lib/visible_text.js";
import { nodeStates } from "./api.js";
import { consumerKeys } from "./consumer_keys.js";

/** @typedef {import("../lib/dom.js").Child} Child */
/**
 * @typedef {object} Parts
 * @property {string[]} columns
 * @property {(resource: any) => Child[]} cells in the order of the columns
 * @property {(resource: any) => Child} body of the page of one
 * @property {(path: string, signal: AbortSignal) => Child} [data] what is no part of the document; it loads by itself
 */

const [, PLAN] = KINDS;

/** @type {Record<string, Parts>} by the name of the kind */
export const PARTS = {
  Consumer: {
    columns: ["Plan", "Keys", "Labels"],
    cells: ({ metadata, spec, status }) => [planLink(spec), number(status.keys), lines(labelTexts(metadata.labels))],
    body: consumer,
    data: consumerKeys,
  },
  Plan: {
    columns: ["Limits", "Quotas", "Consumers"],
    cells: ({ spec, status }) => [lines((spec.limits ?? []).map(limit)), lines((spec.quotas ?? []).map(quota)), number(status.consumers)],
    body: plan,
  },
  Secret: {
    columns: ["Keys", "State", "APIs", "Labels"],
    cells: ({ metadata, spec, status }) => [
      codes(Object.keys(spec.values)), secretState(status), number(status.usedBy.length), lines(labelTexts(metadata.labels)),
    ],
    body: secret,
  },
  Defaults: {
    columns: ["For", "Policies", "Settings"],
    cells: ({ spec }) => [selection(spec), lines(attachments(spec).map(([, policy]) => policy)), lines(settings(spec).map(([name]) => name))],
    body: defaults,
  },
  NodeGateway: {
    columns: ["Nodes", "Listeners", "State"],
    cells: ({ spec, status }) => [lines(labelTexts(spec.nodes)), lines(spec.listeners.map(listener)), gatewayState(status)],
    body: nodeGateway,
  },
  Namespace: {
    columns: ["Labels of APIs", "Contexts", "Hosts"],
    cells: ({ spec }) => [lines(labelTexts(spec.labels)), codes(spec.contexts ?? []), codes(spec.hosts ?? [])],
    body: ({ spec }) => facts([
      ["Labels of APIs", lines(labelTexts(spec.labels))], ["Contexts", listed(spec.contexts)], ["Hosts", listed(spec.hosts)],
    ]),
  },
};

/** @param {any} resource */
function consumer({ spec }) {
  const known = [
    ...(spec.jwt ?? []).map((/** @type {any} */ claims) => ["JWT", `${claims.subject ?? "any subject"} of ${claims.issuer}`]),
    ...(spec.certificates ?? []).map((/** @type {any} */ certificate) => ["certificate", `SHA-256 ${certificate.sha256}`]),
  ];
  const rows = known.map(([by, text]) => [by, el("code", null, visible(text))]);
  return [
    facts([["Plan", spec.plan ? planLink(spec) : "none"]]),
    known.length > 0 && [el("h2", null, "Known by"), table("Known by", ["By", "What"], rows)],
  ];
}

/** @param {any} spec of a consumer */
function planLink({ plan: name }) {
  return name && el("a", { href: addressOf(PLAN, name) }, name);
}

/** @param {any} resource */
function plan({ spec, status }) {
  const rows = [
    ...(spec.limits ?? []).map((/** @type {any} */ bound) => ["limit", limit(bound)]),
    ...(spec.quotas ?? []).map((/** @type {any} */ bound) => ["quota", quota(bound)]),
  ];
  return [
    facts([["Consumers", number(status.consumers)]]),
    el("h2", null, "Limits and quotas"),
    rows.length ? table("Limits and quotas", ["Sort", "Requests"], rows) : el("p", null, "None: its consumers are not limited."),
  ];
}

/** @param {{requests: number, per: string, burst?: number, name?: string}} limit */
function limit({ requests, per, burst, name }) {
  return `${number(requests)} in ${per}${burst ? `, ${number(burst)} at once` : ""}${name ? ` (${name})` : ""}`;
}

/** @param {{requests: number, period: string}} quota */
function quota({ requests, period }) {
  return `${number(requests)} a ${period}`;
}

/** @param {any} resource */
function secret({ metadata, spec, status }) {
  return [
    facts([["State", secretState(status)]]),
    el("h2", null, "Keys"),
    table("Keys", ["Key", "As APIs name it"], Object.keys(spec.values).map((key) => [key, el("code", null, `{secretRef: ${metadata.name}/${key}}`)])),
  ];
}

/** @param {any} status */
function secretState({ state, reason }) {
  return [badge(state, state === "readable" ? "good" : "bad"), reason && el("div", { class: "reason" }, visible(reason))];
}

/** @param {any} resource */
function nodeGateway({ spec, status }) {
  return [
    facts([["State", gatewayState(status)], ["Labels of nodes", lines(labelTexts(spec.nodes))]]),
    el("h2", null, "Listeners"),
    table("Listeners", ["Listener", "Address"], spec.listeners.map(listenerRow)),
    el("h2", null, "Nodes"),
    status.nodes.length ? nodeStates(status.nodes) : empty("No connected node has it."),
  ];
}

/** @param {any} status */
function gatewayState({ state, reason }) {
  return [badge(state), reason && el("div", { class: "reason" }, visible(reason))];
}

/** @param {any} listener */
function listener({ name, protocol, port }) {
  return `${name}: ${protocol} at ${port}`;
}

/** @param {any} listener */
function listenerRow({ name, address, port, protocol }) {
  return [name, el("code", null, `${protocol}://${address.includes(":") ? `[${address}]` : address}:${port}`)];
}

/** @param {any} resource */
function defaults({ spec }) {
  const policies = attachments(spec).map(([place, policy, params]) => [policy, place, el("code", null, params)]);
  const values = settings(spec).map(([name, value]) => [name, el("code", null, value), spec.enforced?.includes(name) ? "yes" : "no"]);
  return [
    facts([["For", selection(spec)]]),
    policies.length > 0 && [el("h2", null, "Policies"), table("Policies", ["Policy", "Place", "Settings"], policies)],
    values.length > 0 && [el("h2", null, "Settings"), table("Settings", ["Setting", "Value", "Enforced"], values)],
  ];
}

/** @param {any} spec of Defaults */
function selection({ for: chosen }) {
  const parts = [...labelTexts(chosen?.labels), ...(chosen?.hosts ?? [])];
  return parts.length ? codes(parts) : "all APIs";
}

/** @param {any} spec of Defaults @returns {[place: string, policy: string, settings: string][]} */
function attachments({ policies }) {
  return /** @type {[string, string][]} */ ([["before", "before those of the API"], ["after", "behind those of the API"]]).flatMap(([member, place]) =>
    (policies?.[member] ?? []).map((/** @type {any} */ { name, version, ...others }) => [place, `${name} ${version}`, JSON.stringify(others)]),
  );
}

/** @param {any} spec of Defaults @returns {[name: string, value: string][]} */
function settings(spec) {
  const { for: _, policies, enforced, ...values } = spec;
  return Object.entries(values).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]);
}

/** @param {string[]} texts */
function lines(texts) {
  return texts.map((text) => el("div", null, visible(text)));
}

/** @param {string[] | undefined} texts */
function listed(texts) {
  return texts?.length ? codes(texts) : "none";
}

/** @param {string[]} texts */
function codes(texts) {
  return texts.map((text) => el("div", null, el("code", null, visible(text))));
}
