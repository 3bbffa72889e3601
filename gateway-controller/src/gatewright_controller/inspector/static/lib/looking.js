// A page that looks at something again and again.

import { Problem } from "./api.js";
import { problem } from "./components.js";
import { el } from "./dom.js";
import { patch } from "./patch.js";
import { poll } from "./poll.js";

/**
 * Does `work` until another page is shown. Where the controller refuses or does not answer, what was shown before stays,
 * and the page says so; it goes on by itself.
 * @param {HTMLElement} root the page
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @param {() => Promise<void>} work
 */
export async function look(root, seconds, signal, work) {
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
