// A region that follows what the controller says while the page is visible: it is drawn anew where it has changed, and keeps the focus.

import { Problem } from "./api.js";
import { problem } from "./components.js";
import { replace } from "./dom.js";
import { poll } from "./poll.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * Asks now and again, and shows what has changed in `region`. While the controller is away, or no token is there, what
 * is shown stays; before anything was shown that is thrown, so that the whole page is shown anew.
 * @template T
 * @param {number} seconds
 * @param {Element} region
 * @param {() => Promise<T>} look
 * @param {(found: T) => Child} draw what is shown of it: the same for what is the same as JSON
 * @param {AbortSignal} signal
 */
export async function live(seconds, region, look, draw, signal) {
  let before = "";
  await poll(seconds, async () => {
    try {
      const found = await look();
      const now = JSON.stringify(found);
      if (now !== before) redraw(region, draw(found));
      before = now;
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
 * Puts `content` in the place of all that is in `region`. What has the focus there gives it to what has the same `href`,
 * or else the same `id`.
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
