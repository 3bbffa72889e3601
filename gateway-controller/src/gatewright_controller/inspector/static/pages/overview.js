// The overview: figures of all nodes, and what needs attention first.

import { getAll } from "../lib/api.js";
import { may } from "../lib/caller.js";
import { badge, empty, heading, lackOfRight, notice, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { executed, Sampler, quantileMs } from "../lib/executions.js";
import { durationOrNone, figures, rate, share, troubleList } from "../lib/figures.js";
import { number } from "../lib/format.js";
import { isCounted, isOfUsage } from "../lib/llm_usage.js";
import { pollPage } from "../lib/looking.js";
import { askNodes } from "../lib/nodes.js";
import { upstreamNotes } from "../lib/notes.js";
import { patch } from "../lib/patch.js";
import { href } from "../lib/router.js";
import { errors, quietWords, requestCharts, requests, requestSources, requestTime } from "../lib/traffic.js";
import { troubles } from "../lib/troubles.js";
import { contextOf, stateOf } from "./apis.js";

export const page = { title: "Overview", show };

const SECONDS = 2;
const RECENT = 10;
/** The prefix of APIs' groups: those of their exchanges and executions. */
const API = "api ";

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, _, signal) {
  if (!may("nodes:inspect")) return showApis(root, signal);
  const sampler = new Sampler([
    ...requestSources(),
    { name: "gatewright_exchanges_total", group: ({ api }) => (api ? API + api : null), as: ({ result }) => result },
    { name: "gatewright_exchange_duration_seconds_bucket", group: ({ api }) => (api ? API + api : null), as: "duration", histogram: true },
  ]);
  const wants = (/** @type {string} */ name) => sampler.wants(name) || isOfUsage(name) || /^(gatewright_(process|metrics)_|envoy_overload_)/.test(name);
  const charts = requestCharts();
  const [above, below] = [el("div"), el("div")];
  const drawn = el("div", { class: "charts", hidden: true }, charts.elements);
  root.append(heading("Overview"), above, drawn, below, programs());
  await pollPage(root, SECONDS, signal, async () => {
    const [{ apis }, reports] = await Promise.all([getAll("/v1/apis", { signal }), askNodes(signal, { stats: true, metrics: wants, notes: true })]);
    const notes = upstreamNotes(reports);
    sampler.add(reports);
    const quiet = quietWords(sampler);
    patch(above, headline(sampler, apis, reports), quiet && quietNotice(quiet), el("h2", null, "What needs attention"), troubleList(troubles(apis, reports)));
    drawn.hidden = quiet !== "";
    charts.update(sampler);
    patch(below, apiTable(apis, sampler, notes), modelsLink(reports), nodeTable(reports));
  });
}

function programs() {
  return el(
    "p", { class: "quiet" },
    "Programs read and change the same by the ", el("a", { href: href(["management"]) }, "management API"), ".",
    may("audit:read") && [" Who changed what: ", el("a", { href: href(["audit"]) }, "audit log"), "."],
    may("tokens:write") && [" Who may: ", el("a", { href: href(["tokens"]) }, "tokens"), "."],
  );
}

/** For a caller who may not ask nodes. @param {HTMLElement} root @param {AbortSignal} signal */
async function showApis(root, signal) {
  const list = el("div");
  replace(root, heading("Overview"), lackOfRight("nodes:inspect"), list, programs());
  await pollPage(root, SECONDS, signal, async () => {
    const { apis } = await getAll("/v1/apis", { signal });
    const rows = apis.map((/** @type {any} */ { metadata, spec, status }) => [
      el("a", { href: href(["apis", metadata.name]) }, metadata.name), stateOf(metadata.name, status, new Map()), el("code", null, contextOf(spec)),
    ]);
    patch(list, el("h2", null, "APIs"), rows.length ? table("APIs", ["API", "State", "Context"], rows) : empty("There is no API here."));
  });
}

/** @param {string} words */
function quietNotice(words) {
  if (!may("requests:send")) return notice("info", words);
  return notice("info", words, " ", el("a", { href: href(["compose"]) }, "Send one: Compose"), ".");
}

/** @param {Sampler} sampler @param {any[]} apis @param {import("../lib/nodes.js").NodeReport[]} reports */
function headline(sampler, apis, reports) {
  const { seconds, groups } = sampler.recent(RECENT);
  const all = groups.get("");
  const deployed = apis.filter(({ status }) => status.state === "deployed").length;
  const quarantined = reports.reduce((sum, { stats }) => sum + (stats?.quarantined.length ?? 0), 0);
  return figures([
    ["Requests", seconds ? rate(requests(all) / seconds) : "–", `of the last ${RECENT} s`],
    ["Errors", seconds ? share(errors(all), requests(all)) : "–", "answered 5xx"],
    ["p95", durationOrNone(requestTime(all, 0.95)), "response time"],
    ["APIs", `${number(deployed)} of ${number(apis.length)}`, "deployed"],
    ["Nodes", number(reports.length), "connected"],
    ["Quarantined", number(quarantined), "policy instances"],
  ]);
}

/** @param {any[]} apis @param {Sampler} sampler @param {Map<string, string>} notes */
function apiTable(apis, sampler, notes) {
  const { seconds, groups } = sampler.recent(60);
  const rows = apis.map(({ metadata, spec, status }) => {
    const own = groups.get(API + metadata.name);
    const policies = status.policies.length > 0;
    return [
      el("a", { href: href(["apis", metadata.name]) }, metadata.name),
      stateOf(metadata.name, status, notes),
      el("code", null, spec.context),
      policies && seconds ? rate(executed(own) / seconds) : "–",
      durationOrNone(quantileMs(own, "duration", 0.95)),
    ];
  });
  const about = el("p", { class: "quiet" }, "Exchanges are requests on routes with policies, here of the last minute. Other requests bypass the policy engine.");
  return [el("h2", null, "APIs"), rows.length ? [about, table("APIs", ["API", "State", "Context", "Exchanges", "p95"], rows)] : empty("No API is deployed.")];
}

/** Only where a node counts them. @param {import("../lib/nodes.js").NodeReport[]} reports */
function modelsLink(reports) {
  if (!isCounted(reports.map(({ metrics }) => metrics))) return null;
  return el("p", null, "Requests to language models: ", el("a", { href: href(["models"]) }, "tokens and cost by model and team"), ".");
}

/** @param {import("../lib/nodes.js").NodeReport[]} reports */
function nodeTable(reports) {
  const rows = reports.map(({ node, stats }) => [
    el("a", { href: href(["nodes", node.id]) }, node.id),
    node.engineVersion,
    number(node.apis.length),
    node.rejected.length ? badge(String(node.rejected.length), "bad") : "0",
    stats ? number(stats.extProc.active) : "–",
  ]);
  return [el("h2", null, "Nodes"), rows.length ? table("Nodes", ["Node", "Engine", "APIs served", "Rejected", "Exchanges under way"], rows) : empty("No node is connected.")];
}
