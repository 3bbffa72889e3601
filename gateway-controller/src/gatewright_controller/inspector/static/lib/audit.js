// The audit log's filter, in addresses of the page and of the management API, and what an entry is about.

import { addressOf as addressOfResource, kindOf } from "./kinds.js";
import { href } from "./router.js";

/** @typedef {{actor: string, name: string, refused: boolean}} AuditFilter */
/**
 * @typedef {object} AuditEntry
 * @property {number} number
 * @property {string} at
 * @property {string} actor
 * @property {string} origin
 * @property {string} reason
 * @property {string} action what was done; of a refusal the operation of the management API
 * @property {"done" | "refused"} outcome
 * @property {number} status
 * @property {string} kind of the resource: Api, Gateway, Secret, Token; "": none
 * @property {string} name
 * @property {number} [revision]
 * @property {string} [detail] why it was refused
 * @property {string} [diff]
 */

/** Of the page's address. @param {URLSearchParams} query @returns {AuditFilter} */
export function filterOf(query) {
  return { actor: query.get("actor") ?? "", name: query.get("name") ?? "", refused: query.get("refused") === "true" };
}

/** The page's address. @param {AuditFilter} filter @param {number} [before] an entry's number: only older ones */
export function addressOf({ actor, name, refused }, before) {
  return href(["audit"], {
    ...(actor && { actor }), ...(name && { name }), ...(refused && { refused: "true" }), ...(before && { before: String(before) }),
  });
}

/** The path of the management API. @param {AuditFilter} filter @param {string} before "": the newest @param {number} limit */
export function pathOf({ actor, name, refused }, before, limit) {
  const query = { limit: String(limit), ...(before && { before }), ...(actor && { actor }), ...(name && { name }), ...(refused && { outcome: "refused" }) };
  return `/v1/audit?${new URLSearchParams(query)}`;
}

/** The page of what an entry is about. @param {AuditEntry} entry @returns {string} "": there is none */
export function pageOf({ kind, name, revision }) {
  const known = kindOf(kind);
  if (known && name) return addressOfResource(known, name, "history", ...(revision ? [String(revision)] : []));
  return kind === "Token" ? href(["tokens"]) : "";
}
