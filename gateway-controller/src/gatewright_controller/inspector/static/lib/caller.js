// Who is signed in, and what they may do, as the controller says. It refuses the rest by itself; pages only say so before.

import { get } from "./api.js";
import { token } from "./session.js";

/** @typedef {{role: string, names: string[], labels: Record<string, string>, hosts: string[], contexts: string[]}} Grant */
/** @typedef {{actor: string, rights: string[], grants: Grant[]}} Caller */

/** What each right is for. @type {Record<string, string>} */
const PURPOSES = {
  "apis:read": "Reading APIs and policies",
  "apis:write": "Writing APIs",
  "audit:read": "Reading the audit log",
  "consumers:read": "Seeing which consumers and plans there are",
  "consumers:write": "Writing consumers and plans, and making keys",
  "defaults:read": "Seeing what APIs get by Defaults",
  "defaults:write": "Writing Defaults, for APIs of all teams",
  "exchanges:read": "Reading what clients and upstreams have sent",
  "gateway:write": "Writing what nodes listen on",
  "logs:write": "Changing log levels",
  "namespaces:read": "Seeing which contexts and hosts are whose",
  "namespaces:write": "Writing which contexts and hosts are whose",
  "nodes:connect": "Being a node, which gets all APIs with their secrets",
  "nodes:inspect": "Seeing what nodes report",
  "nodes:read": "Reading what nodes listen on",
  "nodes:write": "Draining nodes",
  "policies:write": "Changing the policies of the build",
  "requests:send": "Sending requests",
  "secret-keys:write": "Encrypting Secrets by another key",
  "secrets:read": "Seeing which Secrets there are",
  "secrets:write": "Writing Secrets",
  "tokens:write": "Creating and deleting tokens",
};

/** @type {{token: string, caller: Caller} | null} */
let known = null;

/** Asks the controller, once for each token. @param {AbortSignal} [signal] */
export async function readCaller(signal) {
  const asked = token();
  if (known?.token === asked) return;
  known = { token: asked, caller: await get("/v1/caller", { signal }) };
}

/** @returns {Caller | null} the last one that was read; null: none was */
export function currentCaller() {
  return known?.caller ?? null;
}

/** Whether the caller has a right; true while the page does not know. @param {string} right */
export function may(right) {
  return !known || known.caller.rights.includes(right);
}

/** Whether the caller has to name one of their APIs to read exchanges. */
export function isBound() {
  return known !== null && isBoundCaller(known.caller);
}

/** @param {string} right @returns {string} why the caller may not do what needs it; "": they may */
export function lack(right) {
  return known ? lackOf(known.caller, right) : "";
}

/** @param {Caller} caller @param {string} right */
export function lackOf(caller, right) {
  if (caller.rights.includes(right)) return "";
  return `${purpose(right)} needs the right ${right}. Your role is ${rolesInWords(caller)}.`;
}

/** @param {string} right */
export function purpose(right) {
  return PURPOSES[right] ?? right;
}

/** @param {Caller} caller @returns {string[]} rights, without that of knowing who one is */
export function listedRights({ rights }) {
  return rights.filter((right) => right !== "caller:read");
}

/** @param {Caller} caller */
export function isBoundCaller({ grants }) {
  return grants.length > 0 && grants.every((grant) => scopeOf(grant) !== "");
}

/** @param {Caller | null} before @param {Caller | null} now */
export function haveSameRights(before, now) {
  return JSON.stringify([before?.rights, before?.grants]) === JSON.stringify([now?.rights, now?.grants]);
}

/** @param {Caller} caller @returns {string} `publisher`, `publisher, viewer` */
export function roleNames({ grants }) {
  return [...new Set(grants.map(({ role }) => role))].join(", ") || "none";
}

/** @param {Caller} caller @returns {string} `publisher for APIs with a name like pay-*` */
export function rolesInWords({ grants }) {
  const roles = grants.map((grant) => (scopeOf(grant) ? `${grant.role} for ${boundOf(grant)}` : grant.role));
  return [...new Set(roles)].join(", and ") || "none";
}

/** @param {Grant} grant @returns {string} `APIs with a context of /pay`, `nodes with a name like edge-*`; "": it has no bound */
export function boundOf(grant) {
  const scope = scopeOf(grant);
  return scope && `${grant.role === "node" ? "nodes" : "APIs"} with ${scope}`;
}

/** @param {Grant} grant @returns {string} as the controller's refusals say it; "": every API */
export function scopeOf({ names, labels, hosts, contexts }) {
  /** @type {[string, string[]][]} */
  const members = [
    ["a name like", names],
    ["the label", Object.entries(labels).map(([key, value]) => `${key}=${value}`)],
    ["hosts of", hosts],
    ["a context of", contexts],
  ];
  return members.filter(([, values]) => values.length).map(([words, values]) => `${words} ${listed(values)}`).join(" and ");
}

/** @param {string[]} values @returns {string} `a`, `a or b`, `a, b or c` */
function listed(values) {
  return values.length > 1 ? `${values.slice(0, -1).join(", ")} or ${values.at(-1)}` : values.join("");
}
