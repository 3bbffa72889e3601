// Numbers and times as people read them.

/**
 * @param {number} ms
 * @returns {string} `0.35 ms`, `12 ms`, `1.2 s`, `3 min 5 s`
 */
export function duration(ms) {
  if (ms < 10) return `${round(ms, 2)} ms`;
  if (ms < 1000) return `${round(ms, 0)} ms`;
  if (ms < 60_000) return `${round(ms / 1000, 1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/**
 * @param {number} count
 * @returns {string} `17 bytes`, `1.4 KiB`
 */
export function bytes(count) {
  if (count < 1024) return `${count} ${count === 1 ? "byte" : "bytes"}`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(count) / 10), units.length);
  return `${round(count / 1024 ** power, 1)} ${units[power - 1]}`;
}

/**
 * @param {number} count
 * @returns {string} with separators of thousands
 */
export function number(count) {
  return count.toLocaleString("en");
}

/**
 * @param {string} iso RFC 3339
 * @returns {string} the local time of day, with milliseconds
 */
export function time(iso) {
  const when = new Date(iso);
  return `${when.toLocaleTimeString("en-GB")}.${String(when.getMilliseconds()).padStart(3, "0")}`;
}

/**
 * @param {string} iso RFC 3339
 * @returns {string} the local date and time
 */
export function dateTime(iso) {
  const when = new Date(iso);
  return `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())} ${when.toLocaleTimeString("en-GB")}`;
}

/**
 * @param {string} iso RFC 3339
 * @param {number} [now] ms since 1970
 * @returns {string} `5 s ago`
 */
export function ago(iso, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - new Date(iso).getTime()) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

/** @param {number} value @param {number} digits */
function round(value, digits) {
  return Number(value.toFixed(digits));
}

/** @param {number} value */
function two(value) {
  return String(value).padStart(2, "0");
}
