// All APIs: their states, where they are served, and on how many nodes.

import { getAll } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { badge, empty, heading, lackOfRight, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { dateTime } from "../lib/format.js";
import { live, redraw } from "../lib/live.js";
import { askNodes } from "../lib/nodes.js";
import { upstreamNotes } from "../lib/notes.js";
import { href } from "../lib/router.js";

export const page = { title: "APIs", show };

const STATES = ["deployed", "pending", "rejected"];
const NAME = /^[a-z0-9][a-z0-9-]*$/;
const COLUMNS = ["API", "State", "Context", "Hosts", "Version", "Nodes", "Written"];

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, params, signal) {
  /** @type {any[]} */
  let apis = [];
  /** @type {Map<string, string>} */
  let notes = new Map();
  const text = el("input", { type: "search", id: "apis-text", value: params.query.get("text"), spellcheck: "false" });
  const options = STATES.map((name) => el("option", { value: name, selected: params.query.get("state") === name }, name));
  const state = el("select", { id: "apis-state" }, el("option", { value: "" }, "all"), options);
  const count = el("p", { role: "status", class: "quiet" });
  const region = el("div", null, el("p", { class: "quiet" }, "Loading …"));
  const draw = () => {
    const shown = apis.filter((api) => fits(api, text.value, state.value));
    replace(count, shown.length === apis.length ? `${apis.length} APIs` : `${shown.length} of ${apis.length} APIs`);
    if (shown.length) return table("APIs", COLUMNS, shown.map((api) => row(api, notes)));
    return apis.length ? noneFits(text.value.trim()) : nothing();
  };
  const filter = () => {
    history.replaceState(null, "", href(["apis"], queryOf(text.value, state.value)));
    redraw(region, draw());
  };
  text.addEventListener("input", filter);
  state.addEventListener("change", filter);
  replace(
    root,
    heading("APIs", may("apis:write") && el("a", { class: "button primary", href: href(["apis", "new"]) }, "New API")),
    lackOfRight("apis:write"),
    el(
      "div", { class: "form-row", role: "search" },
      el("div", { class: "field" }, el("label", { for: "apis-text" }, "Name, context or host"), text),
      el("div", { class: "field" }, el("label", { for: "apis-state" }, "State"), state),
    ),
    count,
    region,
  );
  const load = async () => {
    const [{ apis }, reports] = await Promise.all([getAll("/v1/apis", { signal }), askNodes(signal, { notes: true })]);
    return { apis, notes: [...upstreamNotes(reports)] };
  };
  await live(2, region, load, (loaded) => {
    apis = loaded.apis;
    notes = new Map(loaded.notes);
    return draw();
  }, signal);
}

/** @param {string} text @param {string} state */
function queryOf(text, state) {
  return { ...(text && { text }), ...(state && { state }) };
}

/** @param {any} api @param {string} text @param {string} state */
function fits({ metadata, spec, status }, text, state) {
  const words = [metadata.name, spec.displayName, contextOf(spec), ...(spec.hosts ?? [])].join("\n").toLowerCase();
  return (!state || status.state === state) && words.includes(text.trim().toLowerCase());
}

/**
 * An API's state, with its trouble: a deployed API whose upstream is away gets a warning.
 * @param {string} name @param {any} status @param {Map<string, string>} notes
 */
export function stateOf(name, status, notes) {
  const note = notes.get(name);
  const [kind, why] = status.state === "deployed" && note ? ["warn", note] : [undefined, status.reason];
  return [badge(status.state, kind), why && el("div", { class: "reason" }, why)];
}

/** @param {any} api @param {Map<string, string>} notes */
function row({ metadata, spec, status }, notes) {
  const called = spec.displayName !== metadata.name && spec.displayName;
  return [
    [el("a", { href: href(["apis", metadata.name]) }, metadata.name), called && el("div", { class: "quiet" }, called)],
    stateOf(metadata.name, status, notes),
    el("code", null, contextOf(spec)),
    spec.hosts?.length ? spec.hosts.map((/** @type {string} */ host) => el("div", null, el("code", null, host))) : "every host",
    spec.version,
    nodesInWords(status.nodes),
    dateTime(status.updatedAt),
  ];
}

/**
 * @param {any} spec
 * @returns {string} the prefix of its paths
 */
export function contextOf(spec) {
  return spec.context.replaceAll("$version", spec.version);
}

/** @param {any[]} nodes of a status */
function nodesInWords(nodes) {
  if (!nodes.length) return "none";
  const parts = STATES.map((state) => [nodes.filter((node) => node.state === state).length, state]);
  return parts.filter(([number]) => number).map(([number, state]) => `${number} ${state}`).join(", ");
}

/** @param {string} text of the filter: perhaps the name of an API that was deleted */
function noneFits(text) {
  const history = NAME.test(text) && [" If it was deleted: ", el("a", { href: href(["apis", text, "history"]) }, `history of ${text}`), "."];
  return empty("No API matches the filter.", history);
}

function nothing() {
  if (!may("apis:write")) return empty("There is no API here.");
  return empty(
    "There are no APIs yet. ", el("a", { href: href(["apis", "new"]) }, "Write the first one"), ", or publish a file with ",
    el("code", null, "gatewright apply -f FILE"), ".",
  );
}
