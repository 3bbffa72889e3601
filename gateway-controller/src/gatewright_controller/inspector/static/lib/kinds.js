// Kinds of resources: where the pages of each are, its place in the management API, and the rights that it takes.

import { href } from "./router.js";

/**
 * @typedef {object} Kind
 * @property {string} name as documents and the audit log have it
 * @property {string} noun in sentences
 * @property {string} title of the page that lists all
 * @property {string} plural in paths of the management API
 * @property {string[]} place of the pages
 * @property {string} read the right to see one
 * @property {string} write the right to write one
 */

/** @typedef {Kind & {words: string, users: string, end: string}} DocumentKind `words`: what one is; `users`: what uses one, "": nothing does; `end`: what its deletion means */

/** @type {Kind} */
export const API = { name: "Api", noun: "API", title: "APIs", plural: "apis", place: ["apis"], read: "apis:read", write: "apis:write" };

/** Those beside APIs. @type {DocumentKind[]} */
export const KINDS = [
  {
    ...kind("Consumer", "consumers", "consumers"),
    words: "A client of APIs: how policies know it, and its plan.",
    users: "",
    end: "It and its keys are refused from then on.",
  },
  {
    ...kind("Plan", "plans", "consumers"),
    words: "Limits and quotas for the consumers that have it.",
    users: "Consumers that have it",
    end: "A plan that consumers have stays: give them another one first.",
  },
  {
    ...kind("Secret", "secrets", "secrets"),
    words: "Values that policies get by the names of their keys. No page and no command shows them.",
    users: "APIs that name it",
    end: "Its values cannot be had again but by a rollback. A Secret that APIs name stays.",
  },
  {
    ...kind("Defaults", "defaults", "defaults"),
    words: "Policies and settings for all APIs that they fit.",
    users: "APIs that get them",
    end: "The APIs that got them go on without.",
  },
  {
    ...kind("NodeGateway", "nodegateways", "nodes"),
    write: "gateway:write",
    words: "What nodes with some labels listen on, in the place of the Gateway.",
    users: "APIs that its nodes may run",
    end: "Its nodes listen as the Gateway says, or as a NodeGateway with fewer labels.",
  },
  {
    ...kind("Namespace", "namespaces", "namespaces"),
    words: "Contexts and hosts in which only APIs with its labels are written.",
    users: "APIs that lie in it",
    end: "Any team may publish there from then on.",
  },
];

/** @param {string} name @param {string} plural @param {string} rights @returns {Kind} */
function kind(name, plural, rights) {
  const title = name.endsWith("s") ? name : `${name}s`;
  return { name, noun: name, title, plural, place: ["resources", plural], read: `${rights}:read`, write: `${rights}:write` };
}

/** The path of a resource in the management API. @param {Kind} kind @param {string} name */
export function pathOf({ plural }, name) {
  return `/v1/${plural}/${encodeURIComponent(name)}`;
}

/** The address of a page of a resource. @param {Kind} kind @param {string} name @param {...string} further `history`, a revision */
export function addressOf({ place }, name, ...further) {
  return href([...place, name, ...further]);
}

/** @param {string} name of a kind @returns {Kind | undefined} undefined: it has no pages */
export function kindOf(name) {
  return [API, ...KINDS].find((known) => known.name === name);
}

/** The query of a list for what a user has typed: a part of a name, or a glob. @param {string} text */
export function globOf(text) {
  if (!text) return "";
  return /[*?[]/.test(text) ? text : `*${text}*`;
}

/** @param {Record<string, string> | undefined} labels @returns {string[]} `team=payments` */
export function labelTexts(labels) {
  return Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
}
