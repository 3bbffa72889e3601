// The policies that APIs can attach, the APIs that do, and their executions.

import { getAll } from "../lib/api.js";
import { attachmentsOf } from "../lib/attachments.js";
import { may } from "../lib/caller.js";
import { badge, empty, heading, lackOfRight, table } from "../lib/components.js";
import { el, replace } from "../lib/dom.js";
import { executed, executionSources, failed, Sampler, quantileMs } from "../lib/executions.js";
import { durationOrNone, rate, share } from "../lib/figures.js";
import { number } from "../lib/format.js";
import { pollPage } from "../lib/looking.js";
import { askNodes } from "../lib/nodes.js";
import { patch } from "../lib/patch.js";
import { href } from "../lib/router.js";
import { fits } from "../lib/search.js";

export const page = { title: "Policies", show };

const SECONDS = 3;
const RECENT = 60;
const MOST_APIS = 3;
const ABOUT = ["Policy", "Version", "Runtime", "Attached to"];
const COLUMNS = [...ABOUT, "Executions", "Failures", "Work p50", "Work p95", "Waiting p95"];

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, _, signal) {
  const sampler = new Sampler(executionSources((labels) => labels.policy ?? null), RECENT);
  const search = el("input", { type: "search", id: "policy-search" });
  const attached = el("input", { type: "checkbox" });
  const since = el("select", { id: "policy-since" }, el("option", { value: "recent" }, "of the last minute"), el("option", { value: "start" }, "since the nodes started"));
  const list = el("div");
  const columns = may("nodes:inspect") ? COLUMNS : ABOUT;
  replace(
    root,
    heading("Policies"),
    lackOfRight("nodes:inspect"),
    el(
      "div", { class: "form-row" },
      el("div", { class: "field" }, el("label", { for: "policy-search" }, "Find"), search),
      may("nodes:inspect") && el("div", { class: "field" }, el("label", { for: "policy-since" }, "Figures"), since),
      el("label", null, attached, "attached only"),
    ),
    list,
  );
  /** @type {any[]} */
  let policies = [];
  /** @type {any[]} */
  let apis = [];
  const draw = () => {
    const recent = sampler.recent(RECENT);
    const of = since.value === "start" ? { seconds: 0, groups: sampler.sinceStart() } : recent;
    const rows = policies
      .map((policy) => ({ policy, at: attachmentsOf(apis, policy.name, policy.version) }))
      .filter(({ policy, at }) => fits(textOf(policy), search.value) && (!attached.checked || at.length))
      .map(({ policy, at }) => row(policy, at, of.groups.get(`${policy.name}:${policy.version}`), of.seconds).slice(0, columns.length));
    patch(list, rows.length ? table("Policies", columns, rows) : empty(policies.length ? "No policy matches." : "The build has no policies."));
  };
  for (const control of [search, attached, since]) control.addEventListener("input", draw, { signal });
  await pollPage(root, SECONDS, signal, async () => {
    const [listed, stored, reports] = await Promise.all([
      getAll("/v1/policies", { signal }), getAll("/v1/apis", { signal }), askNodes(signal, { metrics: sampler.wants }),
    ]);
    policies = listed.policies;
    apis = stored.apis;
    sampler.add(reports);
    draw();
  });
}

/** @param {any} policy What is looked for in it. */
function textOf(policy) {
  return `${policy.name} ${policy.displayName} ${policy.description} ${policy.runtime} ${policy.version}`;
}

/**
 * @param {any} policy
 * @param {import("../lib/attachments.js").Attachment[]} at
 * @param {import("../lib/executions.js").Figures | undefined} figures
 * @param {number} seconds 0: since the start
 */
function row(policy, at, figures, seconds) {
  const count = executed(figures);
  const wrong = failed(figures);
  return [
    [el("a", { href: href(["policies", policy.name, policy.version]) }, policy.name), el("div", { class: "quiet clamped", title: policy.description }, policy.description)],
    policy.version,
    policy.runtime,
    apisOf(at),
    seconds ? rate(count / seconds) : number(count),
    wrong ? badge(`${number(wrong)} (${share(wrong, count)})`, "bad") : count ? "0" : "–",
    durationOrNone(quantileMs(figures, "work", 0.5)),
    durationOrNone(quantileMs(figures, "work", 0.95)),
    policy.runtime === "python" ? durationOrNone(quantileMs(figures, "waiting", 0.95)) : el("span", { class: "quiet" }, "none"),
  ];
}

/** @param {import("../lib/attachments.js").Attachment[]} at */
function apisOf(at) {
  const names = [...new Set(at.map(({ api }) => api))];
  if (!names.length) return el("span", { class: "quiet" }, "no API");
  const links = names.slice(0, MOST_APIS).map((name) => el("div", null, el("a", { href: href(["apis", name]) }, name)));
  return [...links, names.length > MOST_APIS ? el("div", { class: "quiet" }, `and ${names.length - MOST_APIS} more`) : null];
}
