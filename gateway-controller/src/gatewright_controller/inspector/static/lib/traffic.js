// Requests as Envoy counts them: all of them, with and without policies.

import { lineChart } from "./chart.js";
import { quantileOf } from "./executions.js";
import { rate } from "./figures.js";
import { duration, number } from "./format.js";

/** @typedef {import("./executions.js").Source} Source */
/** @typedef {import("./executions.js").Figures} Figures */

/** Envoy's own admin page is a listener too. */
const OWN = "admin";
/** Envoy adds to its histograms every 5 s. */
const SMOOTH_SECONDS = 10;
const QUANTILES = /** @type {[string, number][]} */ ([["p50", 0.5], ["p95", 0.95], ["p99", 0.99]]);

/** @returns {Source[]} one group, "": counts `all` and by class of status; the histogram `time`, in milliseconds */
export function requestSources() {
  const group = (/** @type {Record<string, string>} */ labels) => (labels.envoy_http_conn_manager_prefix === OWN ? null : "");
  return [
    { name: "envoy_http_downstream_rq_total", group, as: "all" },
    { name: "envoy_http_downstream_rq_xx", group, as: (labels) => `${labels.envoy_response_code_class}xx` },
    { name: "envoy_http_downstream_rq_time_bucket", group, as: "time", histogram: true },
  ];
}

/** @param {Figures | undefined} figures */
export function requests(figures) {
  return figures?.counts.all ?? 0;
}

/** @param {Figures | undefined} figures of status 500 and more */
export function errors(figures) {
  return figures?.counts["5xx"] ?? 0;
}

/** @param {Figures | undefined} figures @param {number} q @returns {number | null} in milliseconds */
export function requestTime(figures, q) {
  return quantileOf(figures, "time", q);
}

/**
 * The text in place of empty charts; "" if requests came while the page was open.
 * @param {import("./executions.js").Sampler} sampler
 */
export function quietWords(sampler) {
  if (!sampler.before.size || sampler.points.some(({ groups }) => requests(groups.get("")) > 0)) return "";
  const before = requests(sampler.sinceStart().get(""));
  if (!before) return "No requests since the nodes started.";
  return `No requests since this page was opened, and ${number(before)} before that since the nodes started.`;
}

/** @returns {{elements: HTMLElement[], update: (sampler: import("./executions.js").Sampler) => void}} */
export function requestCharts() {
  const traffic = lineChart("Requests", rate, { about: "All responses of the listeners." });
  const latency = lineChart("Response time", duration, { about: "From the request's first byte to the response's last." });
  return {
    elements: [traffic.element, latency.element],
    update(sampler) {
      const { points } = sampler;
      const times = points.map(({ at }) => at);
      const all = points.map(({ groups }) => groups.get(""));
      const smooth = sampler.smoothed(SMOOTH_SECONDS).map((groups) => groups.get(""));
      traffic.update({ times, series: [
        { name: "all", values: all.map((groups, at) => requests(groups) / points[at].seconds) },
        { name: "5xx", values: all.map((groups, at) => errors(groups) / points[at].seconds) },
      ] });
      latency.update({ times, series: QUANTILES.map(([name, q]) => ({ name, values: smooth.map((groups) => requestTime(groups, q)) })) });
    },
  };
}
