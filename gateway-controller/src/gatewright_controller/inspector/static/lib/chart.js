// Lines over time, as SVG, with the same values as a table. By keyboard the chart is a slider through its times.

import { el, replace, svg } from "./dom.js";
import { time } from "./format.js";

/** @typedef {{name: string, values: (number | null)[]}} Series null: nothing was measured then */
/** @typedef {{times: number[], series: Series[]}} Data `times`: ms since 1970, ascending */

const WIDTH = 600;
const HEIGHT = 160;
const STYLES = 5;
/** Rows of the table, the newest; a longer table would not be read. */
const ROWS = 60;

/**
 * @param {string} title
 * @param {(value: number) => string} format of an axis' and a table's values
 * @param {{about?: string, binary?: boolean}} [more] about: what the values are, for a line below the title; binary: they are bytes
 * @returns {{element: HTMLElement, update: (data: Data) => void}} `update` shows other data
 */
export function lineChart(title, format, more = {}) {
  const chart = new Chart(title, format, more.about ?? "", more.binary ?? false);
  return { element: chart.element, update: (data) => chart.update(data) };
}

class Chart {
  /** @param {string} title @param {(value: number) => string} format @param {string} about @param {boolean} binary */
  constructor(title, format, about, binary) {
    this.format = format;
    this.binary = binary;
    /** @type {Data} */
    this.data = { times: [], series: [] };
    /** @type {number | null} the time under the pointer; null: the newest */
    this.pointed = null;
    this.legend = el("ul", { class: "legend" });
    this.drawn = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.vertical = el("div", { class: "vertical", "aria-hidden": "true" });
    this.horizontal = el("div", { class: "horizontal", "aria-hidden": "true" });
    this.plot = el("div", { class: "plot", role: "slider", tabindex: 0, "aria-label": title, "aria-valuemin": 0 }, this.drawn);
    this.body = el("tbody");
    this.head = el("thead");
    const table = el("table", null, el("caption", { class: "unseen" }, title), this.head, this.body);
    this.details = el(
      "details", null, el("summary", null, "Values as a table"),
      el("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": `${title}, values` }, table),
    );
    this.details.addEventListener("toggle", () => this.#fillTable());
    this.element = el(
      "figure", { class: "chart card", "data-keep": title },
      el("figcaption", null, el("h3", null, title), about ? el("p", { class: "quiet" }, about) : null),
      this.legend, el("div", { class: "axes" }, this.vertical, this.plot, this.horizontal), this.details,
    );
    this.#listen();
    this.#point(); // a slider has a value before there is any data
  }

  /** @param {Data} data */
  update(data) {
    const at = this.pointed === null ? null : this.data.times[this.pointed];
    this.data = data;
    if (at !== null) this.pointed = nearest(data.times, at);
    this.#draw();
    this.#point();
    this.#fillTable();
  }

  #listen() {
    this.plot.addEventListener("pointermove", (event) => {
      const { left, width } = this.plot.getBoundingClientRect();
      const { times } = this.data;
      const [first, last] = [times[0], times[times.length - 1]];
      this.pointed = nearest(times, first + ((event.clientX - left) / width) * (last - first));
      this.#point();
    });
    this.plot.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.#point();
    });
    this.plot.addEventListener("keydown", (event) => {
      const last = this.data.times.length - 1;
      const current = this.pointed ?? last;
      const steps = /** @type {Record<string, number>} */ ({
        ArrowLeft: current - 1, ArrowDown: current - 1, ArrowRight: current + 1, ArrowUp: current + 1,
        PageDown: current - 10, PageUp: current + 10, Home: 0, End: last,
      });
      if (!(event.key in steps) || last < 0) return;
      event.preventDefault();
      this.pointed = Math.max(0, Math.min(last, steps[event.key]));
      if (this.pointed === last) this.pointed = null;
      this.#point();
    });
  }

  #draw() {
    const { times, series } = this.data;
    this.top = topOf(series, this.binary);
    const paths = series.map((line, index) =>
      svg("path", { class: `line style-${index % STYLES}`, d: this.#path(line.values), "vector-effect": "non-scaling-stroke" }),
    );
    const grid = [0, 0.5, 1].map((share) =>
      svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: share * HEIGHT, y2: share * HEIGHT, "vector-effect": "non-scaling-stroke" }),
    );
    this.pointer = svg("line", { class: "pointer", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
    replace(this.drawn, grid, paths, this.pointer);
    replace(this.vertical, [1, 0.5, 0].map((share) => el("span", null, this.format((this.top ?? 0) * share))));
    const ends = times.length ? [times[0], times[times.length - 1]] : [];
    replace(this.horizontal, ends.map((at) => el("span", null, clock(at))));
  }

  /** @param {(number | null)[]} values */
  #path(values) {
    let path = "";
    let begun = false;
    for (const [index, value] of values.entries()) {
      if (value !== null) path += `${begun ? "L" : "M"}${this.#x(index)} ${HEIGHT * (1 - value / (this.top || 1))}${begun ? "" : "h0"}`;
      begun = value !== null;
    }
    return path;
  }

  /** @param {number} index */
  #x(index) {
    const { times } = this.data;
    const span = times[times.length - 1] - times[0];
    return span ? Number((((times[index] - times[0]) / span) * WIDTH).toFixed(2)) : WIDTH;
  }

  /** Shows the values of the time under the pointer, or of the newest time. */
  #point() {
    const { times, series } = this.data;
    const index = this.pointed ?? times.length - 1;
    const values = series.map(({ values: all }) => this.#formatted(all[index]));
    replace(this.legend, series.map(({ name }, at) =>
      el("li", null, swatch(at), el("span", null, `${name} `), el("span", { class: "value" }, values[at]))));
    this.plot.setAttribute("aria-valuemax", String(Math.max(0, times.length - 1)));
    this.plot.setAttribute("aria-valuenow", String(Math.max(0, index)));
    const texts = series.map(({ name }, at) => `${name} ${values[at]}`).join(", ");
    this.plot.setAttribute("aria-valuetext", times.length ? `${clock(times[index])}: ${texts}` : "no data yet");
    if (!this.pointer) return;
    this.pointer.style.visibility = this.pointed === null ? "hidden" : "visible";
    const x = this.pointed === null ? "0" : String(this.#x(index));
    this.pointer.setAttribute("x1", x);
    this.pointer.setAttribute("x2", x);
  }

  #fillTable() {
    if (!this.details.open) return;
    const { times, series } = this.data;
    replace(this.head, el("tr", null, ["Time", ...series.map(({ name }) => name)].map((name) => el("th", { scope: "col" }, name))));
    const rows = times.map((at, index) =>
      el("tr", null, el("th", { scope: "row" }, clock(at)), series.map(({ values }) => el("td", null, this.#formatted(values[index])))),
    );
    replace(this.body, rows.slice(-ROWS).reverse());
  }

  /** @param {number | null | undefined} value */
  #formatted(value) {
    return value == null ? "–" : this.format(value);
  }
}

/** @param {number} index */
function swatch(index) {
  return svg(
    "svg", { viewBox: "0 0 28 10", class: "swatch", "aria-hidden": "true" },
    svg("line", { class: `line style-${index % STYLES}`, x1: 0, x2: 28, y1: 5, y2: 5 }),
  );
}

/**
 * @param {Series[]} series
 * @param {boolean} [binary] round for bytes: a power of two
 * @returns {number} a round number at or above all values
 */
export function topOf(series, binary = false) {
  const most = Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  if (most === 0) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(most));
  const power = 10 ** Math.floor(Math.log10(most));
  return (/** @type {number} */ ([1, 2, 5, 10].find((step) => step * power >= most * (1 - 1e-9)))) * power;
}

/** @param {number[]} times @param {number} at @returns {number | null} the index of the nearest time */
function nearest(times, at) {
  if (!times.length) return null;
  const distances = times.map((time) => Math.abs(time - at));
  return distances.indexOf(Math.min(...distances));
}

/** @param {number} at ms since 1970 */
function clock(at) {
  return time(new Date(at).toISOString()).slice(0, 8);
}
