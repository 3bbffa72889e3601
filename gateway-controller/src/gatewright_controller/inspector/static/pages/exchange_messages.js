// The messages of an exchange, and for each of their headers the policies that have changed it.

import { empty, facts, tabs } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { shownLines } from "../lib/exchange/changes.js";
import { bySender, whyRedacted } from "../lib/exchange/sender.js";
import { authorOf, touches } from "../lib/exchange/touches.js";
import { bytes, number } from "../lib/format.js";
import { cut, visible } from "../lib/visible_text.js";
import { marked } from "./exchange_changes.js";
import { figure } from "../lib/exchange/timeline.js";

/**
 * @typedef {import("../lib/dom.js").Child} Child
 * @typedef {import("../lib/exchange/recorded.js").Body} Body
 * @typedef {import("../lib/exchange/recorded.js").Exchange} Exchange
 * @typedef {import("../lib/exchange/recorded.js").Execution} Execution
 * @typedef {import("../lib/exchange/recorded.js").Field} Field
 * @typedef {import("../lib/exchange/recorded.js").Message} Message
 * @typedef {import("../lib/exchange/touches.js").Touch} Touch
 * @typedef {(execution: Execution) => void} Open
 */

const MOST_BODY = 100_000;
/** @type {Map<string, Touch[]>} */
const UNTOUCHED = new Map();

/** @param {Exchange} exchange @param {Open} open  shows what an execution did */
export function messagesOf(exchange, open) {
  const { request, forwarded, upstreamResponse, response, cause } = exchange;
  const [ofRequest, ofResponse] = [touches(exchange, "request"), touches(exchange, "response")];
  /** @type {[string, () => Child][]} */
  const panels = [
    ["Request as sent", () => sentOf(request, ofRequest, open)],
    ["As forwarded", () => messageOf(forwarded, ofRequest, open, "is", "The request was not forwarded to the upstream.")],
    ["Response", () => messageOf(response, ofResponse, open, "is", "The engine saw no response.")],
  ];
  if (forwarded || upstreamResponse) {
    panels.splice(2, 0, [cause ? "Envoy's response" : "Upstream's response", () => messageOf(upstreamResponse, ofResponse, open, "becomes", "The engine saw no response.")]);
  }
  if (exchange.metadata || exchange.analytics) panels.push(["Metadata", () => storedOf(exchange, open)]);
  return tabs("Messages", panels);
}

/** The client's headers, and apart from them those that the gateway wrote. @param {Message} request @param {Map<string, Touch[]>} touched @param {Open} open */
function sentOf(request, touched, open) {
  const { sent, added } = bySender(request.headers);
  const why = whyRedacted(request.headers, request.body);
  return [
    messageOf({ ...request, headers: sent }, touched, open, "becomes"),
    why ? el("p", { class: "quiet" }, why) : null,
    added.length ? [fieldsOf("Written by the gateway", added, touched, open, "becomes"), el("p", { class: "quiet" }, "The gateway writes these headers itself, or adds to what the client sent. Policies and the upstream see these values.")] : null,
  ];
}

/**
 * @param {Message | undefined} message
 * @param {Map<string, Touch[]>} touched
 * @param {Open} open
 * @param {"becomes" | "is"} tense  becomes: before the policies' changes; is: after them
 * @param {string} [absent]
 */
function messageOf(message, touched, open, tense, absent = "") {
  if (!message) return empty(absent);
  const target = `${message.path ?? ""}${message.query ? `?${message.query}` : ""}`;
  const line = message.method ? `${message.method} ${target}` : String(message.status ?? "");
  const gone = tense === "is" ? goneFrom(message, touched) : [];
  return [
    el("p", { class: "mono start-line" }, el("bdi", null, marked(line))),
    facts([
      ["To", message.authority && el("bdi", null, visible(`${message.scheme ?? "http"}://${message.authority}`))],
      ["Pool", message.upstream && el("bdi", null, visible(message.upstream))],
      ["After", message.atMs ? `${figure(message.atMs)} ms` : ""],
    ]),
    fieldsOf("Headers", message.headers, touched, open, tense),
    gone.length ? [el("h3", null, "Removed headers"), touchList(gone, open)] : null,
    message.trailers?.length ? fieldsOf("Trailers", message.trailers, UNTOUCHED, open, tense) : null,
    message.body ? bodyOf(message.body) : null,
  ];
}

/** @param {Message} message @param {Map<string, Touch[]>} touched */
function goneFrom({ headers }, touched) {
  const there = new Set(headers.map(([name]) => name));
  return [...touched].filter(([name, changes]) => !there.has(name) && !changes.at(-1)?.after).flatMap(([name, changes]) =>
    changes.map((touch) => ({ name, touch })),
  );
}

/**
 * @param {string} title
 * @param {Field[]} fields
 * @param {Map<string, Touch[]>} touched
 * @param {Open} open
 * @param {"becomes" | "is"} tense
 */
function fieldsOf(title, fields, touched, open, tense) {
  if (!fields.length) return [el("h3", null, title), el("p", { class: "quiet" }, "none")];
  const rows = fields.map(([name, value], index) => fieldRows(name, value, touched.get(name) ?? [], open, `${title}-${tense}-${index}`, tense));
  return [
    el("h3", null, title),
    el(
      "div", { class: "scrolls", role: "region", "aria-label": title, tabindex: 0 },
      el("table", { class: "fields" }, el("caption", { class: "unseen" }, title), el("thead", { class: "unseen" }, columns()), el("tbody", null, rows)),
    ),
  ];
}

function columns() {
  return el("tr", null, ["Name", "Value", "Changed by"].map((name) => el("th", { scope: "col" }, name)));
}

/**
 * @param {string} name
 * @param {Child | string} value
 * @param {Touch[]} changes
 * @param {Open} open
 * @param {string} id
 * @param {"becomes" | "is"} tense
 */
function fieldRows(name, value, changes, open, id, tense) {
  const shown = typeof value === "string" ? el("bdi", null, marked(value)) : value;
  if (!changes.length) return el("tr", null, el("th", { scope: "row" }, el("bdi", null, visible(name))), el("td", null, shown), el("td", null));
  const details = el("td", { colspan: 3 });
  const row = el("tr", { class: "details", id, hidden: true }, details);
  const button = el(
    "button", { type: "button", class: "expander", "aria-expanded": "false", "aria-controls": id }, el("bdi", null, visible(name)),
  );
  button.addEventListener("click", () => {
    if (!details.hasChildNodes()) replace(details, touchList(changes.map((touch) => ({ name, touch })), open));
    row.hidden = !row.hidden;
    button.setAttribute("aria-expanded", String(!row.hidden));
  });
  const policies = [...new Set(changes.map(({ execution }) => execution.policy))];
  const words = `${tense === "becomes" ? "to be changed by" : "changed by"} ${policies.join(", ")}`;
  return [
    el("tr", { class: "touched" }, el("th", { scope: "row" }, button), el("td", null, shown), el("td", { class: "quiet" }, visible(words))),
    row,
  ];
}

/** @param {{name: string, touch: Touch}[]} changes @param {Open} open */
function touchList(changes, open) {
  return el("ul", { class: "touches" }, changes.map(({ name, touch }) => {
    const link = el("button", { type: "button", class: "link", onclick: () => open(touch.execution) }, visible(authorOf(touch)));
    return el(
      "li", null, link, el("span", { class: "quiet" }, ` ${visible(name)}`),
      el("ul", { class: "diff" }, sideOf("removed", touch.before), sideOf("added", touch.after)),
    );
  }));
}

/** @param {string} kind @param {string[] | undefined} values */
function sideOf(kind, values) {
  return values?.map((value) => el("li", { class: kind }, el("bdi", null, marked(value))));
}

/** @param {Body} body */
function bodyOf(body) {
  const shown = shownLines(body).map(visible).join("\n");
  const facts = [
    bytes(body.size), body.decoded && `shown decoded from ${body.decoded}`, body.truncated && "only its beginning",
    shown.length > MOST_BODY && `the first ${number(MOST_BODY)} characters; the download has all that was recorded`,
  ];
  return [
    el("h3", null, "Body"), el("p", { class: "quiet" }, facts.filter(Boolean).join(", ")),
    shown ? el("pre", { tabindex: 0, role: "region", "aria-label": "Body" }, el("bdi", null, cut(shown, MOST_BODY))) : null,
  ];
}

/** Metadata that policies keep for each other, and analytics for the access log. @param {Exchange} exchange @param {Open} open */
function storedOf(exchange, open) {
  const { metadata = {}, analytics = {} } = exchange;
  return [stored("Metadata", metadata, touches(exchange, "metadata"), open), stored("Analytics", analytics, touches(exchange, "analytics"), open)];
}

/** @param {string} title @param {Record<string, unknown>} values @param {Map<string, Touch[]>} touched @param {Open} open */
function stored(title, values, touched, open) {
  /** @type {Field[]} */
  const fields = Object.entries(values).map(([name, value]) => [name, JSON.stringify(value)]);
  return fields.length ? fieldsOf(title, fields, touched, open, "is") : null;
}
