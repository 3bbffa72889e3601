// Figures of policies and APIs over a time span: the differences between samples of nodes' metrics, by group.

import { addBuckets, increases, quantile } from "./metrics.js";

/** @typedef {import("./metrics.js").Buckets} Buckets */
/** @typedef {import("./metrics.js").Metrics} Metrics */
/** @typedef {import("./nodes.js").NodeReport} NodeReport */
/** @typedef {{counts: Record<string, number>, histograms: Record<string, Buckets>}} Figures counts by what is counted */
/** @typedef {Map<string, Figures>} Groups */
/** @typedef {{at: number, seconds: number, groups: Groups}} Point `at`: ms since 1970; `seconds` since the one before */

export const KEPT_SECONDS = 15 * 60;

/**
 * @typedef {object} Source a counter, or a histogram by its `_bucket`
 * @property {string} name
 * @property {(labels: Record<string, string>) => string | null} group null: the sample is left out
 * @property {string | ((labels: Record<string, string>) => string)} as the name that it is counted under
 * @property {boolean} [histogram]
 */

/** Takes samples of nodes' metrics, and keeps the increases between them. */
export class Sampler {
  /** @param {Source[]} sources @param {number} [kept] seconds */
  constructor(sources, kept = KEPT_SECONDS) {
    this.sources = sources;
    this.kept = kept;
    /** @type {Point[]} */
    this.points = [];
    /** @type {Map<string, Metrics>} */
    this.before = new Map();
    this.last = 0;
  }

  /** @param {string} name */
  wants = (name) => this.sources.some((source) => source.name === name);

  /** @param {NodeReport[]} reports @param {number} [at] ms since 1970 */
  add(reports, at = Date.now()) {
    /** @type {Groups} */
    const groups = new Map();
    for (const { node, metrics } of reports) {
      const before = this.before.get(node.id);
      if (metrics && before) this.#add(groups, before, metrics);
      if (metrics) this.before.set(node.id, metrics);
    }
    for (const id of this.before.keys()) if (!reports.some(({ node }) => node.id === id)) this.before.delete(id);
    if (this.last) this.points.push({ at, seconds: (at - this.last) / 1000, groups });
    this.last = at;
    while (this.points.length && this.points[0].at < at - this.kept * 1000) this.points.shift();
  }

  /**
   * @param {number} seconds
   * @returns {{seconds: number, groups: Groups}} of the last `seconds`, or since the first sample
   */
  recent(seconds) {
    return this.#until(this.points.length - 1, seconds);
  }

  /**
   * @param {number} seconds
   * @returns {Groups[]} for each point the increases of the `seconds` before it
   */
  smoothed(seconds) {
    return this.points.map((_, index) => this.#until(index, seconds).groups);
  }

  /** @param {number} index of the last point @param {number} seconds @returns {{seconds: number, groups: Groups}} */
  #until(index, seconds) {
    const from = (this.points[index]?.at ?? 0) - seconds * 1000;
    const points = this.points.slice(0, index + 1).filter((point) => point.at > from);
    return { seconds: points.reduce((sum, point) => sum + point.seconds, 0), groups: merged(points.map((point) => point.groups)) };
  }

  /** @returns {Groups} all that was counted since the nodes' engines have started */
  sinceStart() {
    /** @type {Groups} */
    const groups = new Map();
    for (const metrics of this.before.values()) this.#add(groups, new Map(), metrics);
    return groups;
  }

  /** @param {Groups} groups @param {Metrics} before @param {Metrics} after */
  #add(groups, before, after) {
    for (const source of this.sources) {
      for (const sample of increases(before, after, source.name)) {
        const group = source.group(sample.labels);
        if (group === null) continue;
        const figures = figuresOf(groups, group);
        const as = typeof source.as === "string" ? source.as : source.as(sample.labels);
        if (source.histogram) addBuckets(bucketsOf(figures, as), [sample]);
        else figures.counts[as] = (figures.counts[as] ?? 0) + sample.value;
      }
    }
  }
}

/** @param {Groups} groups @param {string} group @returns {Figures} */
function figuresOf(groups, group) {
  const figures = groups.get(group) ?? { counts: {}, histograms: {} };
  groups.set(group, figures);
  return figures;
}

/** @param {Figures} figures @param {string} histogram @returns {Buckets} */
function bucketsOf(figures, histogram) {
  figures.histograms[histogram] ??= new Map();
  return figures.histograms[histogram];
}

/** @param {Groups[]} all @returns {Groups} */
function merged(all) {
  /** @type {Groups} */
  const into = new Map();
  for (const groups of all) for (const [name, figures] of groups) add(figuresOf(into, name), figures);
  return into;
}

/** @param {Figures} into @param {Figures} from */
function add(into, from) {
  for (const [as, count] of Object.entries(from.counts)) into.counts[as] = (into.counts[as] ?? 0) + count;
  for (const [as, buckets] of Object.entries(from.histograms)) {
    const own = bucketsOf(into, as);
    for (const [bound, count] of buckets) own.set(bound, (own.get(bound) ?? 0) + count);
  }
}

/**
 * @param {Groups} groups
 * @param {(group: string) => boolean} [wanted]
 * @returns {Figures} of all of these together
 */
export function together(groups, wanted = () => true) {
  /** @type {Figures} */
  const all = { counts: {}, histograms: {} };
  for (const [name, figures] of groups) if (wanted(name)) add(all, figures);
  return all;
}

const NO_FAILURES = ["ok", "cancelled"];

/** @param {Figures | undefined} figures of outcomes @returns {number} */
export function executed(figures) {
  return Object.values(figures?.counts ?? {}).reduce((sum, count) => sum + count, 0);
}

/** @param {Figures | undefined} figures of outcomes @returns {[string, number][]} by class, the most frequent first */
export function failures(figures) {
  const failed = Object.entries(figures?.counts ?? {}).filter(([outcome]) => !NO_FAILURES.includes(outcome));
  return failed.sort(([, a], [, b]) => b - a);
}

/** @param {Figures | undefined} figures @returns {number} */
export function failed(figures) {
  return failures(figures).reduce((sum, [, count]) => sum + count, 0);
}

/**
 * @param {Figures | undefined} figures
 * @param {string} histogram
 * @param {number} q
 * @returns {number | null} in milliseconds, of a histogram in seconds
 */
export function quantileMs(figures, histogram, q) {
  const seconds = quantileOf(figures, histogram, q);
  return seconds === null ? null : seconds * 1000;
}

/**
 * @param {Figures | undefined} figures
 * @param {string} histogram
 * @param {number} q
 * @returns {number | null} in the histogram's unit
 */
export function quantileOf(figures, histogram, q) {
  return quantile(q, figures?.histograms[histogram] ?? new Map());
}

/**
 * Metrics of executions: outcomes, and the time of work and waiting.
 * @param {(labels: Record<string, string>) => string | null} group
 * @returns {Source[]}
 */
export function executionSources(group) {
  return [
    { name: "gatewright_executions_total", group, as: (labels) => labels.outcome },
    { name: "gatewright_execution_work_seconds_bucket", group, as: "work", histogram: true },
    { name: "gatewright_execution_waiting_seconds_bucket", group, as: "waiting", histogram: true },
  ];
}
