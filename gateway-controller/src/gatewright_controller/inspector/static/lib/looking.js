// A page that refreshes its content.

import { Problem } from "./api.js";
import { problem } from "./components.js";
import { el } from "./dom.js";
import { patch } from "./patch.js";
import { poll } from "./poll.js";

/**
 * Does `work` until another page is shown. If the controller refuses or does not answer, the content stays,
 * the page says so, and tries again.
 * @param {HTMLElement} root the page
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @param {() => Promise<void>} work
 */
export async function pollPage(root, seconds, signal, work) {
  const wrong = el("div");
  let worked = false;
  root.prepend(wrong);
  const once = async () => {
    try {
      await work();
      worked = true;
      patch(wrong);
    } catch (error) {
      if (signal.aborted) return;
      if (!worked || !(error instanceof Problem)) throw error;
      patch(wrong, problem(error));
    }
  };
  await poll(seconds, once, signal);
}
