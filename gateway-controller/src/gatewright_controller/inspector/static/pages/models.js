// Language models: tokens and cost by model, team and client, as llm-usage counts them at all nodes.

import { empty, heading, table } from "../lib/components.js";
import { el } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { cost, isCounted, isOfUsage, otherRequests, usageBy } from "../lib/llm_usage.js";
import { pollPage } from "../lib/looking.js";
import { askNodes } from "../lib/nodes.js";
import { patch } from "../lib/patch.js";
import { cut, visible } from "../lib/visible_text.js";

/** @typedef {import("../lib/llm_usage.js").Usage} Usage */
/** @typedef {import("../lib/nodes.js").NodeReport} NodeReport */

export const page = { title: "Language models", show };

const SECONDS = 5;
const MOST_ROWS = 100;
/** @type {["model" | "team" | "client", string, string][]} */
const VIEWS = [["model", "Model", "no model in the answer"], ["team", "Team", "no team"], ["client", "Client", "no client"]];

/** @type {import("../lib/router.js").Page["show"]} */
async function show(root, _, signal) {
  const content = el("div");
  root.append(heading("Language models"), content);
  await pollPage(root, SECONDS, signal, async () => {
    const reports = await askNodes(signal, { metrics: isOfUsage });
    const nodes = reports.map(({ metrics }) => metrics);
    patch(content, problemsOf(reports), isCounted(nodes) ? viewsOf(nodes) : empty("No node counts requests to language models: attach the policy llm-usage to an API."));
  });
}

/** @param {NodeReport[]} reports */
function problemsOf(reports) {
  const lost = reports.filter(({ metrics }) => !metrics);
  return lost.map(({ node, problem }) => el("p", { class: "notice warn" }, `Without node ${node.id}: ${problem}.`));
}

/** @param {NodeReport["metrics"][]} nodes */
function viewsOf(nodes) {
  const others = otherRequests(nodes);
  return [
    el("p", { class: "quiet" }, "Since the processes that count at the connected nodes have started. The cost is in the currency of llm-usage's prices."),
    VIEWS.map(([label, title, none]) => viewOf(usageBy(nodes, label), title, none)),
    others ? el("p", { class: "quiet" }, `Besides, llm-usage has seen ${number(others)} requests that are none to a language model.`) : null,
  ];
}

/** @param {Usage[]} rows @param {string} title @param {string} none what stands for an empty label */
function viewOf(rows, title, none) {
  const cells = rows.slice(0, MOST_ROWS).map((row) => [
    row.name ? el("bdi", null, visible(cut(row.name, 200))) : el("span", { class: "quiet" }, none),
    cost(row), number(row.input), number(row.output), number(row.requests), number(row.withoutUsage),
  ]);
  return [
    el("h2", null, `By ${title.toLowerCase()}`),
    table(`By ${title.toLowerCase()}`, [title, "Cost", "Input tokens", "Output tokens", "Requests", "Without usage"], cells),
    rows.length > MOST_ROWS ? el("p", { class: "quiet" }, `and ${number(rows.length - MOST_ROWS)} more with fewer tokens`) : null,
  ];
}
