// Work that is repeated while the page is visible.

/**
 * Does `work` now and again `seconds` after it has ended, until `signal` is aborted. Waits while the tab is hidden.
 * @param {number} seconds
 * @param {() => Promise<void>} work what it throws it has to show itself, or it ends the polling
 * @param {AbortSignal} signal
 */
export async function poll(seconds, work, signal) {
  while (!signal.aborted) {
    await work();
    await pause(seconds * 1000, signal);
    while (document.hidden && !signal.aborted) await shown(signal);
  }
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal ends the wait as well
 * @returns {Promise<void>}
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const ended = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", ended);
      resolve();
    };
    const timer = setTimeout(ended, ms);
    signal.addEventListener("abort", ended);
  });
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function shown(signal) {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", () => resolve(), { once: true, signal });
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
