// A text area for code: its lines have numbers, and some of them a mark. Tab leaves it, as it leaves any other field.

import { el, replace } from "./dom.js";

export const KEYS = "Tab leaves the text. Ctrl+] and Ctrl+[ indent and unindent lines, and Enter keeps the indentation.";
const STEP = "  ";

export class CodeArea {
  /** @param {{id: string, label: string, describedBy: string, text: string}} options */
  constructor({ id, label, describedBy, text }) {
    this.area = el("textarea", {
      id, "aria-label": label, "aria-describedby": describedBy, wrap: "off", spellcheck: "false", autocomplete: "off",
      autocapitalize: "off", translate: "no",
    });
    this.area.value = text;
    /** @type {Set<number>} */
    this.marked = new Set();
    this.numbers = el("div", { class: "code-numbers" });
    this.bars = el("div", { class: "code-bars" });
    const beside = el("div", { class: "code-beside", "aria-hidden": "true" }, this.bars, this.numbers);
    this.element = el("div", { class: "code" }, beside, this.area);
    this.area.addEventListener("scroll", () => this.#scroll());
    this.area.addEventListener("input", () => this.#draw());
    this.area.addEventListener("keydown", (event) => this.#key(event));
    this.#draw();
  }

  get text() {
    return this.area.value;
  }

  /**
   * Another text, as if it had been typed: it can be undone.
   * @param {string} text
   */
  replaceAll(text) {
    if (text !== this.text) this.type(0, this.text.length, text);
  }

  /**
   * Marks these lines, and no others.
   * @param {Iterable<number>} lines from 1
   */
  mark(lines) {
    this.marked = new Set(lines);
    if (this.marked.size) this.area.setAttribute("aria-invalid", "true");
    else this.area.removeAttribute("aria-invalid");
    this.#draw();
  }

  /**
   * Goes to a line, and selects what stands in it.
   * @param {number} line from 1
   */
  goTo(line) {
    const lines = this.text.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
    this.area.focus();
    this.area.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    const height = parseFloat(getComputedStyle(this.area).lineHeight);
    this.area.scrollTop = Math.max(0, (line - 1) * height - this.area.clientHeight / 3);
    this.area.scrollLeft = 0;
  }

  /** The line of the caret, from 1. */
  get line() {
    return this.text.slice(0, this.area.selectionStart).split("\n").length;
  }

  /**
   * Puts text in the place of a part, as if it had been typed. What was typed is selected then, if it has lines.
   * @param {number} from
   * @param {number} to
   * @param {string} text
   */
  type(from, to, text) {
    this.area.focus();
    this.area.setSelectionRange(from, to);
    const typed = text ? document.execCommand("insertText", false, text) : document.execCommand("delete");
    if (typed) return;
    this.area.setRangeText(text, from, to, "end"); // where a browser has no such command; it cannot be undone then
    this.area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.isComposing || event.altKey || event.metaKey) return;
    const moves = /** @type {Record<string, () => void>} */ ({ "]": () => this.#shift(1), "[": () => this.#shift(-1) });
    const work = event.ctrlKey ? moves[event.key] : event.key === "Enter" && !event.shiftKey ? () => this.#enter() : null;
    if (!work) return;
    event.preventDefault();
    work();
  }

  /** A new line begins where this one does; behind `- ` and `:` where what belongs to it begins. */
  #enter() {
    const { selectionStart: from, selectionEnd: to } = this.area;
    const before = this.text.slice(this.text.lastIndexOf("\n", from - 1) + 1, from);
    const [, spaces, dashes] = /** @type {RegExpExecArray} */ (/^( *)((?:- +)*)/.exec(before));
    const deeper = /:\s*$/.test(before) ? STEP : "";
    this.type(from, to, `\n${spaces}${" ".repeat(dashes.length)}${deeper}`);
  }

  /** @param {1 | -1} direction all lines that are selected, if only in part */
  #shift(direction) {
    const { selectionStart, selectionEnd } = this.area;
    const from = this.text.lastIndexOf("\n", selectionStart - 1) + 1;
    const end = this.text.indexOf("\n", Math.max(selectionEnd - (selectionEnd > selectionStart ? 1 : 0), from));
    const to = end < 0 ? this.text.length : end;
    const lines = this.text.slice(from, to).split("\n");
    const moved = lines.map((line) => (direction > 0 ? (line ? STEP + line : line) : line.replace(/^ {1,2}/, "")));
    if (moved.join("\n") === lines.join("\n")) return;
    this.type(from, to, moved.join("\n"));
    const first = Math.max(from, selectionStart + moved[0].length - lines[0].length);
    const by = moved.join("\n").length - (to - from);
    this.area.setSelectionRange(first, Math.max(first, selectionEnd + by));
  }

  #draw() {
    const count = this.text.split("\n").length;
    const numbers = Array.from({ length: count }, (_, index) => (this.marked.has(index + 1) ? `✗ ${index + 1}` : `${index + 1}`));
    replace(this.numbers, numbers.join("\n"));
    const bars = [...this.marked].map((line) => {
      const bar = el("div", { class: "code-bar" });
      bar.style.setProperty("--line", String(line - 1));
      return bar;
    });
    replace(this.bars, bars);
    this.#scroll();
  }

  #scroll() {
    const moved = `translateY(${-this.area.scrollTop}px)`;
    this.numbers.style.transform = moved;
    this.bars.style.transform = moved;
  }
}
