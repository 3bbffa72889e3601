// One resource: what it says, what uses it, and its document.

import { get, send } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { empty, facts, heading, lackOfRight, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { addressOf, kindOf, labelTexts, pathOf } from "../lib/kinds.js";
import { live } from "../lib/live.js";
import { ask } from "../lib/question.js";
import { href } from "../lib/router.js";
import { visible } from "../lib/visible_text.js";
import { PARTS } from "./resource_parts.js";

/** @typedef {import("../lib/kinds.js").DocumentKind} Kind */

const MOST_USERS = 100;
const SECONDS = 5;

/** @param {Kind} kind @returns {import("../lib/router.js").Page} */
export function pageOf(kind) {
  return { title: kind.name, show: (root, params, signal) => show(kind, root, params, signal) };
}

/** @param {Kind} kind @param {HTMLElement} root @param {any} params @param {AbortSignal} signal */
async function show(kind, root, { name }, signal) {
  const path = pathOf(kind, name);
  /** @type {number | undefined} */
  let revision;
  const region = el("div", null, el("p", { class: "quiet" }, "Loading …"));
  const asYaml = el("details", { class: "api-yaml" }, el("summary", null, "As YAML"));
  const yaml = async () => {
    if (!asYaml.open) return;
    const text = await get(path, { accept: "application/yaml", signal });
    replace(asYaml, el("summary", null, "As YAML"), el("pre", { tabindex: 0, "aria-label": `The ${kind.noun} as YAML` }, text));
  };
  asYaml.addEventListener("toggle", () => yaml().catch(() => {}));
  replace(
    root,
    heading(
      name,
      el("a", { class: "button", href: addressOf(kind, name, "history") }, "History"),
      may(kind.write) && el("button", { type: "button", class: "danger", onclick: () => askToDelete(kind, name, revision) }, "Delete …"),
    ),
    el("p", { class: "quiet" }, el("a", { href: href(kind.place) }, kind.title), ": ", kind.words),
    lackOfRight(kind.write),
    region,
  );
  const load = async () => {
    const users = kind.users ? get(`${path}/users?limit=${MOST_USERS}`, { signal }) : { users: [] };
    const [resource, used] = await Promise.all([get(path, { signal }), users]);
    return { resource, used };
  };
  const data = PARTS[kind.name].data;
  root.append(...(data ? [el("div", null, data(path, signal))] : []), asYaml);
  await live(SECONDS, region, load, ({ resource, used }) => {
    if (revision !== resource.status.revision) yaml().catch(() => {});
    revision = resource.status.revision;
    return described(kind, resource, used);
  }, signal);
}

/** @param {Kind} kind @param {any} resource @param {{users: {kind: string, name: string}[], next?: string}} used */
function described(kind, resource, used) {
  const { metadata, status } = resource;
  return [
    facts([
      ["Labels", labelTexts(metadata.labels).map((text) => el("div", null, text))],
      ["Owner", visible(status.owner ?? "")],
      ["Revision", status.revision],
      ["Created", dateTime(status.createdAt)],
      ["Written", dateTime(status.updatedAt)],
    ]),
    PARTS[kind.name].body(resource),
    kind.users && [el("h2", null, kind.users), userTable(kind, used)],
  ];
}

/** @param {Kind} kind @param {{users: {kind: string, name: string}[], next?: string}} used */
function userTable(kind, { users, next }) {
  if (!users.length) return empty("None.");
  const rows = users.map((user) => {
    const known = kindOf(user.kind);
    return [known ? el("a", { href: addressOf(known, user.name) }, user.name) : user.name];
  });
  return [table(kind.users, ["Name"], rows), next && el("p", { class: "quiet" }, `These are the first ${MOST_USERS}.`)];
}

/** @param {Kind} kind @param {string} name @param {number | undefined} revision of what is shown */
function askToDelete(kind, name, revision) {
  ask(`Delete the ${kind.noun} ${name}?`, kind.end, "Delete", async () => {
    const headers = /** @type {Record<string, string>} */ (revision ? { "if-match": `"${revision}"` } : {});
    await send("DELETE", pathOf(kind, name), undefined, { headers });
    location.hash = href(kind.place);
  });
}
