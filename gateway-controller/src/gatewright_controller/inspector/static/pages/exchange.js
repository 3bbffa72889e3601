// One exchange explained: the party that answered and why, what each policy took, changed, and where it failed.

import { Problem, request } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { facts, heading, problem } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { curl } from "../lib/exchange/curl.js";
import { fileName } from "../lib/exchange/file_name.js";
import { neighbours } from "../lib/exchange/listed.js";
import { read, target } from "../lib/exchange/recorded.js";
import { fault, lastWith, verdict } from "../lib/exchange/verdict.js";
import { dateTime, duration } from "../lib/format.js";
import { capital } from "../lib/notes.js";
import { href } from "../lib/router.js";
import { cut, visible } from "../lib/visible_text.js";
import { llmOf } from "./exchange_llm.js";
import { messagesOf } from "./exchange_messages.js";
import { timelineOf } from "./exchange_timeline.js";

/** @typedef {import("../lib/exchange/recorded.js").Exchange} Exchange */

export const page = { title: "Exchange", show };

const LONGEST_HEADING = 300;

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { id }, signal) {
  const text = await recorded(id, signal).catch((error) => {
    if (!(error instanceof Problem) || ![400, 404].includes(error.status)) throw error;
    replace(root, heading("Exchange", ways(id)), problem(error), whatToDo(id));
  });
  if (!text) return;
  const exchange = read(JSON.parse(text));
  replace(root, explained(exchange, text));
  const llm = await llmOf(exchange, signal).catch((error) => {
    if (signal.aborted) throw error;
    return problem(error);
  });
  if (llm) root.querySelector("h2")?.before(llm);
}

/** The exchange as text: the download has exactly what the engine wrote. @param {string} id @param {AbortSignal} signal */
async function recorded(id, signal) {
  const answer = await request("GET", `/v1/exchanges/${encodeURIComponent(id)}`, undefined, { signal });
  return answer.text();
}

/** @param {string} id */
function whatToDo(id) {
  const watch = href(["exchanges"], { id });
  return el(
    "p", null, "Nodes keep only the newest of the exchanges that were watched or recorded. ",
    el("a", { href: watch }, "Watch for this request id"), ", or ", el("a", { href: "#/exchanges" }, "record exchanges by a filter"),
    ", and send the request again.",
  );
}

/** @param {Exchange} exchange @param {string} text */
function explained(exchange, text) {
  const timeline = timelineOf(exchange);
  const message = el("div", { role: "status" });
  const title = el("bdi", null, cut(visible(`${exchange.request.method ?? ""} ${target(exchange)}`), LONGEST_HEADING));
  return [
    heading(
      title,
      el("button", { type: "button", onclick: () => copy(exchange, message) }, "Copy as curl"),
      el("button", { type: "button", onclick: () => download(exchange, text) }, "Download"),
      may("requests:send") && el("a", { class: "button", href: href(["compose"], { exchange: exchange.id }) }, "Compose again"),
      ways(exchange.id),
    ),
    el("p", { class: `notice verdict ${kindOf(exchange)}` }, el("bdi", null, sentence(exchange))),
    message,
    factsOf(exchange),
    tryingOf(exchange),
    el("h2", null, "Policies"),
    exchange.executions.length ? timeline.element : el("p", null, "No policy was run."),
    el("h2", null, "Messages"),
    messagesOf(exchange, timeline.open),
  ];
}

/** The verdict, with the line breaks of a policy's message. @param {Exchange} exchange */
function sentence(exchange) {
  const whole = `${capital(verdict(exchange))}; ${duration(exchange.durationMs)}`;
  return whole.split("\n").map(visible).join("\n");
}

/** @param {Exchange} exchange */
function kindOf(exchange) {
  const { outcome, response } = exchange;
  const status = response?.status ?? 0;
  if (outcome === "failed" || status >= 500 || lastWith(exchange, "failed")) return "bad";
  return outcome === "cancelled" || status >= 400 || !status ? "warn" : "good";
}

/** To the exchanges before and after it in the list that it was opened from. @param {string} id */
function ways(id) {
  const { newer, older, list } = neighbours(id);
  return [
    newer ? el("a", { class: "button", href: href(["exchanges", newer]) }, "Newer") : null,
    older ? el("a", { class: "button", href: href(["exchanges", older]) }, "Older") : null,
    el("a", { class: "button", href: list }, "All exchanges"),
  ];
}

/** @param {Exchange} exchange */
function factsOf(exchange) {
  const { api = "", apiVersion = "", node, client, redacted, policies = [], cause } = exchange;
  const ran = new Set(exchange.executions.map(({ policy }) => policy));
  return facts([
    ["Request id", written(exchange.id, "mono")],
    ["Fault", cause && written(fault(cause))],
    ["Cure", written(cause?.cure)],
    ["API", api && el("a", { href: href(["apis", api]) }, visible(`${api} ${apiVersion}`))],
    ["Operation", written(exchange.operation)],
    ["Chain", written(exchange.chain, "mono")],
    ["Node", may("nodes:inspect") ? el("a", { href: href(["nodes", node]) }, visible(node)) : visible(node)],
    ["Client", written(client?.address, "mono")],
    ["Client's certificate", client?.peer && written(JSON.stringify(client.peer))],
    ["Began", el("time", { datetime: exchange.startedAt, title: exchange.startedAt }, dateTime(exchange.startedAt))],
    ["Took", duration(exchange.durationMs)],
    ["Not run", written(policies.filter((policy) => !ran.has(policy)).join(", "))],
    ["Trace", written(exchange.traceId, "mono")],
    ["Details", written(exchange.details, "mono")],
    ["Error", written(exchange.error)],
    ["Redacted", redacted ? `${redacted} ${redacted === 1 ? "value" : "values"}` : ""],
  ]);
}

/** How to try a change of a policy on the exchange, or on live requests. @param {Exchange} exchange */
function tryingOf(exchange) {
  const policy = (exchange.policies?.[0] ?? "NAME:VERSION").split(":")[0];
  return el(
    "details", { class: "trying" }, el("summary", null, "Try a change of a policy on this exchange"),
    el("p", null, el("strong", null, "Replay: "), "download the exchange, and run your policy's code on it without a gateway; the command shows what would differ. docs/how-to/replay.md has more."),
    el("pre", { tabindex: 0, role: "region", "aria-label": "Command to replay" }, `gatewright replay ${fileName(exchange)} --policy policies/${visible(policy)}`),
    el("p", null, el("strong", null, "Shadow: "), "attach the next version with ", el("code", null, "mode: shadow"), ": it runs on live requests, but its changes are not applied. docs/how-to/shadow.md has more. To see what it would have changed, look at ",
      el("a", { href: href(["exchanges"], { shadow: "different" }) }, "exchanges where a shadow differs"), "."),
  );
}

/** @param {string | undefined} text @param {string} [kind] */
function written(text, kind = "") {
  return text ? el("bdi", { class: kind }, visible(text)) : "";
}

/** @param {Exchange} exchange @param {HTMLElement} message */
async function copy(exchange, message) {
  const { command, left } = curl(exchange);
  const copied = await navigator.clipboard?.writeText(command).then(() => true, () => false);
  replace(
    message,
    el(
      "div", { class: "card" },
      el("p", null, copied ? "Copied." : "Select and copy it:", left.length ? ` Without ${left.map(visible).join("; ")}.` : ""),
      el("pre", { class: "curl", tabindex: 0, role: "region", "aria-label": "Command" }, command.split("\n").map(visible).join("\n")),
    ),
  );
}

/** As `gatewright record` saves it, for `gatewright replay` and `gatewright explain`. @param {Exchange} exchange @param {string} text */
function download(exchange, text) {
  const url = URL.createObjectURL(new Blob([text, "\n"], { type: "application/json" }));
  el("a", { href: url, download: fileName(exchange) }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
