// A region that follows what the controller says while the page is visible: it is drawn anew where it has changed, and keeps the focus.

import { Problem } from "./api.js";
import { problem } from "./components.js";
import { replace } from "./dom.js";
import { poll } from "./poll.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * Loads data every `seconds`, and draws `region` anew if it has changed. While the controller is away or refuses the
 * token, the region stays as it is; if nothing was drawn yet, the error is thrown and the whole page is shown anew.
 * @template T
 * @param {number} seconds
 * @param {Element} region
 * @param {() => Promise<T>} load
 * @param {(data: T) => Child} draw draws the data; called only if its JSON has changed
 * @param {AbortSignal} signal
 */
export async function live(seconds, region, load, draw, signal) {
  let before = "";
  await poll(seconds, async () => {
    try {
      const data = await load();
      const text = JSON.stringify(data);
      if (text !== before) redraw(region, draw(data));
      before = text;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      if ([0, 401].includes(error.status)) {
        if (!before) throw error;
        return;
      }
      before = " ";
      redraw(region, problem(error));
    }
  }, signal);
}

/**
 * Puts `content` in the place of all that is in `region`. The focus moves to the element with the same `id`
 * or `href` as before.
 * @param {Element} region
 * @param {Child} content
 */
export function redraw(region, content) {
  const active = document.activeElement;
  const had = active && region.contains(active) ? active : null;
  const scrolled = [...region.querySelectorAll(".scrolls")].map((scroller) => [scroller.scrollLeft, scroller.scrollTop]);
  replace(region, content);
  for (const [index, scroller] of region.querySelectorAll(".scrolls").entries()) {
    const [left, top] = scrolled[index] ?? [0, 0];
    scroller.scrollTo(left, top);
  }
  if (!had) return;
  const same = [...region.querySelectorAll("a[href], [id]")].find((element) =>
    had.id ? element.id === had.id : had.hasAttribute("href") && element.getAttribute("href") === had.getAttribute("href"),
  );
  if (same instanceof HTMLElement) same.focus({ preventScroll: true });
}
