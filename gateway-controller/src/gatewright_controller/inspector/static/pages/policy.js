// One policy: what it is, its parameters, where it is attached, and its executions while the page is open.

import { getAll, Problem } from "../lib/api.js";
import { attachmentsOf } from "../lib/attachments.js";
import { lineChart } from "../lib/chart.js";
import { may } from "../lib/caller.js";
import { badge, empty, facts, heading, lackOfRight, notice, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { executed, executionSources, failed, failures, Sampler, quantileMs, together } from "../lib/executions.js";
import { durationOrNone, figures, rate, share } from "../lib/figures.js";
import { duration, number } from "../lib/format.js";
import { pollPage } from "../lib/looking.js";
import { askNodes } from "../lib/nodes.js";
import { asSentence, notesAbout } from "../lib/notes.js";
import { parameterTable } from "../lib/parameters.js";
import { patch } from "../lib/patch.js";
import { href } from "../lib/router.js";

export const page = { title: "Policy", show };

/** @typedef {import("../lib/executions.js").Groups} Groups */
/** @typedef {import("../lib/attachments.js").Attachment} Attachment */

const SECONDS = 2;
const RECENT = 60;
const QUANTILES = /** @type {[string, number][]} */ ([["p50", 0.5], ["p95", 0.95], ["p99", 0.99]]);
const MOST_CLASSES = 5;
const CLASSES = /** @type {Record<string, string>} */ ({
  timeout: "the policy took longer than the timeout of its attachment",
  overloaded: "no slot, worker or memory was free",
  unavailable: "no executor process was available",
  crashed: "the process ended while the policy ran, or the policy is quarantined",
  exception: "the policy raised an exception",
  badAction: "the policy returned an invalid action",
  bodyTooLarge: "the body was larger than maxBodyBytes",
  badBody: "the body could not be decoded",
});

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, { name, version }, signal) {
  const { policies } = await getAll("/v1/policies", { signal });
  const policy = policies.find((/** @type {any} */ known) => known.name === name && known.version === version);
  if (!policy) throw new Problem(404, `no policy ${name}:${version} is in the build; the page Policies lists those that are`);
  const whole = `${name}:${version}`;
  const sampler = new Sampler(executionSources((labels) => (labels.policy === whole ? (labels.api ?? "") : null)));
  const about = el("div");
  const others = policies.filter((/** @type {any} */ other) => other.name === name && other.version !== version);
  const charts = chartsOf(policy);
  const choice = el("select", { id: "policy-api" });
  replace(
    root,
    heading([name, " ", el("span", { class: "quiet" }, version)], others.map((/** @type {any} */ other) =>
      el("a", { class: "button", href: href(["policies", other.name, other.version]) }, other.version))),
    el("p", null, policy.description || "The policy has no description."),
    about,
    lackOfRight("nodes:inspect") ?? [
      el("h2", null, "Since this page was opened"),
      el("div", { class: "form-row" }, el("div", { class: "field" }, el("label", { for: "policy-api" }, "Executions for"), choice)),
      el("div", { class: "charts" }, charts.map(({ element }) => element)),
    ],
    el("h2", null, "Parameters"),
    parameterTable(policy.parameters),
    el("h2", null, "What it sees"),
    modes(policy),
  );
  const draw = () => {
    for (const { update } of charts) update(sampler.points, choice.value);
  };
  choice.addEventListener("change", draw, { signal });
  await pollPage(root, SECONDS, signal, async () => {
    const [{ apis }, reports] = await Promise.all([getAll("/v1/apis", { signal }), askNodes(signal, { metrics: sampler.wants, stats: true, notes: true })]);
    sampler.add(reports);
    const at = attachmentsOf(apis, name, version);
    offer(choice, [...new Set([...at.map(({ api }) => api), ...sampler.sinceStart().keys()])].sort());
    patch(about, summary(policy, reports, sampler, at));
    draw();
  });
}

/** @param {HTMLSelectElement} choice @param {string[]} apis */
function offer(choice, apis) {
  const values = ["", ...apis];
  if (values.join("\n") === [...choice.options].map(({ value }) => value).join("\n")) return;
  const chosen = choice.value;
  replace(choice, values.map((api) => el("option", { value: api, selected: api === chosen }, api || "all APIs")));
}

/** @param {any} policy @param {import("../lib/nodes.js").NodeReport[]} reports @param {Sampler} sampler @param {Attachment[]} at */
function summary(policy, reports, sampler, at) {
  const { seconds, groups } = sampler.recent(RECENT);
  const [recent, since] = [together(groups), together(sampler.sinceStart())];
  const whole = `${policy.name}:${policy.version}`;
  const quarantined = notesAbout(reports, "policy").filter(({ note }) => note.about.name === whole);
  const hung = reports.flatMap(({ node, stats }) => (stats?.executors ?? []).flatMap((/** @type {any} */ executor) => executor.hung ?? []).filter((/** @type {any} */ execution) => execution.policy === whole).map((/** @type {any} */ execution) => ({ ...execution, node: node.id })));
  const builds = reports.filter(({ node }) => node.policies.some((/** @type {any} */ built) => built.name === policy.name && built.version === policy.version));
  return el(
    "div", null,
    quarantined.map(({ note, node }) => notice("bad", el("p", null, badge("quarantined"), ` for API ${note.about.api} on ${node}: ${asSentence(note.reason)} ${asSentence(note.cure)}`))),
    hung.map((execution) => notice("bad", el("p", null, badge("hung"), ` for API ${execution.api} on ${execution.node}: ${execution.count} ${execution.count === 1 ? "execution still runs" : "executions still run"} long after the deadline, the oldest for ${duration(execution.oldestMs)}.`))),
    may("nodes:inspect") && figures([
      ["Executions", seconds ? rate(executed(recent) / seconds) : "–", `${number(executed(since))} since the start`],
      ["Failures", share(failed(recent), executed(recent)), `${number(failed(since))} since the start`],
      ...QUANTILES.map(([q, value]) => /** @type {[string, string, string]} */ ([`Work ${q}`, durationOrNone(quantileMs(recent, "work", value)), `${durationOrNone(quantileMs(since, "work", value))} since the start`])),
    ]),
    facts([
      ["Runtime", policy.runtime],
      ["Nodes whose build has it", may("nodes:inspect") && (reports.length ? `${builds.length} of ${reports.length}` : "no node is connected")],
      ["onError: continue", policy.allowContinue ? "allowed" : "not allowed"],
      ["Definition", el("code", null, policy.definitionDigest.slice(0, 12))],
    ]),
    classes(since),
    el("h2", null, "Where it is attached"),
    at.length ? attachmentTable(at, groups, seconds) : empty("No API attaches this policy."),
  );
}

/** @param {import("../lib/executions.js").Figures} since */
function classes(since) {
  const byClass = failures(since);
  if (!byClass.length) return null;
  const rows = byClass.map(([name, count]) => [badge(name, "bad"), number(count), CLASSES[name] ?? ""]);
  return [el("h2", null, "Failures since the nodes started"), table("Failures by class", ["Class", "Count", "What it means"], rows)];
}

/** @param {Attachment[]} at @param {Groups} groups @param {number} seconds */
function attachmentTable(at, groups, seconds) {
  const figured = may("nodes:inspect");
  const columns = ["API", "State", "To", "Asked for", "Timeout", "onError", ...(figured ? ["Executions in the API", "Failures", "Work p95"] : [])];
  return table("Attachments", columns, at.map((attachment) => attachmentRow(attachment, groups, seconds).slice(0, columns.length)));
}

/** @param {Attachment} attachment @param {Groups} groups @param {number} seconds */
function attachmentRow(attachment, groups, seconds) {
  const own = groups.get(attachment.api);
  const wrong = failed(own);
  return [
    el("a", { href: href(["apis", attachment.api]) }, attachment.api),
    badge(attachment.state),
    attachment.operation ? el("code", null, attachment.operation) : "the whole API",
    attachment.asked,
    attachment.timeout || el("span", { class: "quiet" }, "1s"),
    attachment.onError || el("span", { class: "quiet" }, "fail"),
    seconds ? rate(executed(own) / seconds) : "–",
    wrong ? badge(share(wrong, executed(own)), "bad") : share(wrong, executed(own)),
    durationOrNone(quantileMs(own, "work", 0.95)),
  ];
}

/** @param {any} policy @returns {{element: HTMLElement, update: (points: import("../lib/executions.js").Point[], api: string) => void}[]} */
function chartsOf(policy) {
  const python = policy.runtime === "python";
  const done = lineChart("Executions", rate);
  const wrong = lineChart("Failures by class", rate);
  const work = lineChart("Work", duration, { about: python ? "Time in the policy's function, of executions that ended in time." : "Time of the whole execution." });
  const waiting = lineChart("Waiting", duration, { about: "The rest of an execution: time in queues and in transit to the process and back." });
  const of = (/** @type {string} */ api) => (/** @type {import("../lib/executions.js").Point} */ { groups }) => together(groups, (group) => !api || group === api);
  /** @param {ReturnType<typeof lineChart>} chart @param {(points: any[], own: any[]) => import("../lib/chart.js").Series[]} make */
  const drawn = (chart, make) => ({
    element: chart.element,
    /** @param {import("../lib/executions.js").Point[]} points @param {string} api */
    update: (points, api) => chart.update({ times: points.map(({ at }) => at), series: make(points, points.map(of(api))) }),
  });
  /** @param {string} histogram @returns {(points: any[], own: any[]) => import("../lib/chart.js").Series[]} */
  const quantiles = (histogram) => (_, own) => QUANTILES.map(([name, q]) => ({ name, values: own.map((groups) => quantileMs(groups, histogram, q)) }));
  return [
    drawn(done, (points, own) => [
      { name: "ended", values: own.map((groups, at) => executed(groups) / points[at].seconds) },
      { name: "failed", values: own.map((groups, at) => failed(groups) / points[at].seconds) },
    ]),
    drawn(wrong, (points, own) => {
      const seen = failures(together(new Map(own.map((groups, at) => [String(at), groups])))).slice(0, MOST_CLASSES);
      const names = seen.length ? seen.map(([name]) => name) : ["failed"];
      return names.map((name) => ({ name, values: own.map((groups, at) => (groups.counts[name] ?? 0) / points[at].seconds) }));
    }),
    drawn(work, quantiles("work")),
    ...(python ? [drawn(waiting, quantiles("waiting"))] : []),
  ];
}

const SEEN = /** @type {Record<string, string>} */ ({
  SKIP: "not seen", PROCESS: "seen", BUFFER: "seen whole, once it has arrived", STREAM: "seen chunk by chunk",
});

/** @param {any} policy */
function modes({ processingMode: mode }) {
  const rows = [
    ["Request headers", mode.requestHeaderMode], ["Request body", mode.requestBodyMode],
    ["Response headers", mode.responseHeaderMode], ["Response body", mode.responseBodyMode],
  ].map(([part, value]) => [part, el("code", null, value), SEEN[value] ?? ""]);
  return table("Processing modes", ["Part", "Mode", "What that means"], rows);
}
