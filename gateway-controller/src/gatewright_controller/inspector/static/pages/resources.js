// All resources of one kind, by name.

import { get } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { empty, heading, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { addressOf, globOf, KINDS } from "../lib/kinds.js";
import { live } from "../lib/live.js";
import { href } from "../lib/router.js";
import { visible } from "../lib/visible_text.js";
import { PARTS } from "./resource_parts.js";

/** @typedef {import("../lib/kinds.js").DocumentKind} Kind */

const MOST = 100;
const SECONDS = 5;

/** @param {Kind} kind @returns {import("../lib/router.js").Page} */
export function pageOf(kind) {
  return { title: kind.title, show: (root, params, signal) => show(kind, root, params, signal) };
}

/** @param {Kind} kind @param {HTMLElement} root @param {any} params @param {AbortSignal} signal */
async function show(kind, root, { query }, signal) {
  const [text, after] = [query.get("name") ?? "", query.get("after") ?? ""];
  const region = el("div", null, el("p", { class: "quiet" }, "Loading …"));
  replace(root, heading(kind.title), links(kind), el("p", { class: "quiet" }, kind.words), filterForm(kind, text), region);
  const asked = new URLSearchParams({ limit: String(MOST), ...(text && { name: globOf(text) }), ...(after && { after }) });
  const load = () => get(`/v1/${kind.plural}?${asked}`, { signal });
  await live(SECONDS, region, load, (list) => listed(kind, list, text, after), signal);
}

/** The lists of the other kinds that the role may see. @param {Kind} shown */
function links(shown) {
  const kinds = KINDS.filter(({ read }) => may(read));
  const items = kinds.map((kind) => el("a", { href: href(kind.place), "aria-current": kind === shown && "page" }, kind.title));
  return el("nav", { class: "kinds", "aria-label": "Kinds of resources" }, items);
}

/** @param {Kind} kind @param {string} text */
function filterForm({ place }, text) {
  const input = el("input", { type: "search", id: "resources-name", value: text, autocomplete: "off", spellcheck: "false", autocapitalize: "none" });
  const form = el(
    "form", { class: "form-row audit-filter", role: "search", "aria-label": "Which of them" },
    el("div", { class: "field" }, el("label", { for: "resources-name" }, "Name, or a part of it"), input),
    el("button", { type: "submit" }, "Show"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = input.value.trim();
    location.hash = href(place, name ? { name } : {});
  });
  return form;
}

/** @param {Kind} kind @param {any} list as the controller answers @param {string} text @param {string} after */
function listed(kind, list, text, after) {
  const { columns, cells } = PARTS[kind.name];
  /** @type {any[]} */
  const found = list[kind.plural];
  const rows = found.map((resource) => [
    el("a", { href: addressOf(kind, resource.metadata.name) }, resource.metadata.name),
    ...cells(resource),
    el("bdi", null, visible(resource.status.owner ?? "")),
    el("span", { class: "when" }, dateTime(resource.status.updatedAt)),
  ]);
  const next = list.next && new URL(list.next, location.origin).searchParams.get("after");
  const query = text && { name: text };
  return [
    rows.length ? table(kind.title, [kind.name, ...columns, "Owner", "Written"], rows) : nothing(kind, text, after),
    el(
      "p", { class: "form-row" },
      after && el("a", { class: "button", href: href(kind.place, { ...query }) }, "First"),
      next && el("a", { class: "button", href: href(kind.place, { ...query, after: next }) }, "Next"),
    ),
  ];
}

/** @param {Kind} kind @param {string} text of the filter: perhaps the name of one that was deleted @param {string} after */
function nothing(kind, text, after) {
  if (!text) return empty(after ? "There are no more." : `There are no ${kind.title} here.`);
  return empty(
    "No name fits. If it was deleted: ", el("a", { href: addressOf(kind, text, "history") }, `history of ${text}`), ".",
  );
}
