// Prometheus' text format, and the differences between two samples.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format

/** @typedef {{key: string, labels: Record<string, string>, value: number}} Sample `key`: the labels as they were written */
/** @typedef {Map<string, Sample[]>} Metrics samples by the names that they have */
/** @typedef {Map<number, number>} Buckets upper bound → how many are at most that */

const LABEL = /\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,?)\s*/y;
const ESCAPED = /** @type {Record<string, string>} */ ({ n: "\n", '"': '"', "\\": "\\" });

/**
 * Reads Prometheus' text. Other lines are left out, so that a newer node may add kinds of lines.
 * @param {string} text
 * @param {(name: string) => boolean} [wanted] which names are read
 * @returns {Metrics}
 */
export function parse(text, wanted = () => true) {
  /** @type {Metrics} */
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const name = /^[a-zA-Z_:][\w:]*/.exec(line)?.[0];
    if (!name || !wanted(name)) continue;
    const sample = sampleOf(line, name.length);
    if (!sample) continue;
    const samples = metrics.get(name);
    if (samples) samples.push(sample);
    else metrics.set(name, [sample]);
  }
  return metrics;
}

/** @param {string} line @param {number} begin @returns {Sample | null} */
function sampleOf(line, begin) {
  /** @type {Record<string, string>} */
  const labels = {};
  let end = begin;
  if (line[begin] === "{") {
    LABEL.lastIndex = end = begin + 1;
    for (let match = LABEL.exec(line); match; match = LABEL.exec(line)) {
      labels[match[1]] = match[2].replace(/\\(.)/g, (whole, letter) => ESCAPED[letter] ?? whole);
      end = LABEL.lastIndex;
    }
    if (line[end] !== "}") return null;
    end += 1;
  }
  const [written] = line.slice(end).trim().split(/\s+/);
  const value = numberOf(written);
  return value === null ? null : { key: line.slice(begin, end), labels, value };
}

/** @param {string} written @returns {number | null} */
function numberOf(written) {
  if (written === "NaN") return NaN;
  const value = Number(written.replace(/^([+-]?)Inf$/, "$1Infinity"));
  return written === "" || Number.isNaN(value) ? null : value;
}

/**
 * @param {Metrics} metrics
 * @param {string} name
 * @param {Record<string, string>} [labels] that a sample has to have
 * @returns {Sample[]}
 */
export function samples(metrics, name, labels = {}) {
  const wanted = Object.entries(labels);
  return (metrics.get(name) ?? []).filter((sample) => wanted.every(([label, value]) => sample.labels[label] === value));
}

/**
 * @param {Metrics} metrics
 * @param {string} name
 * @param {Record<string, string>} [labels]
 * @returns {number} the sum; 0 where there is none
 */
export function total(metrics, name, labels = {}) {
  return samples(metrics, name, labels).reduce((sum, sample) => sum + sample.value, 0);
}

/**
 * The increases of counters between two samples. A counter that is new, or less than before, started at zero.
 * @param {Metrics} before
 * @param {Metrics} now
 * @param {string} name
 * @returns {Sample[]} those that have grown
 */
export function increases(before, now, name) {
  const was = new Map((before.get(name) ?? []).map((sample) => [sample.key, sample.value]));
  return (now.get(name) ?? [])
    .map((sample) => {
      const then = was.get(sample.key) ?? 0;
      return { ...sample, value: sample.value < then ? sample.value : sample.value - then };
    })
    .filter((sample) => sample.value > 0);
}

/**
 * Adds the samples of a histogram's NAME_bucket.
 * @param {Buckets} into
 * @param {Iterable<Sample>} bucket
 */
export function addBuckets(into, bucket) {
  for (const { labels, value } of bucket) {
    const bound = numberOf(labels.le ?? "");
    if (bound !== null) into.set(bound, (into.get(bound) ?? 0) + value);
  }
}

/**
 * As Prometheus' histogram_quantile: as if observations were spread evenly within their bucket.
 * @param {number} q 0 to 1
 * @param {Buckets} buckets
 * @returns {number | null} in the histogram's unit; the last bound for what is beyond it; null where nothing was observed
 */
export function quantile(q, buckets) {
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  let most = 0;
  const counts = sorted.map(([, count]) => {
    most = Math.max(most, count);
    return most;
  });
  if (most === 0) return null;
  const rank = q * most;
  const at = counts.findIndex((count) => count >= rank && count > 0);
  const [bound] = sorted[at];
  const [below, under] = at > 0 ? [sorted[at - 1][0], counts[at - 1]] : [0, 0];
  if (bound === Infinity) return at > 0 ? below : null;
  return below + (bound - below) * ((rank - under) / (counts[at] - under));
}
