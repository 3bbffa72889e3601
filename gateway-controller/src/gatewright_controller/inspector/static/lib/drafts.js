// Texts that are not applied yet: kept for this tab, over a mistaken step back, a reload or a new sign-in.

const PREFIX = "gatewright.draft.";

/** @typedef {{text: string, revision: number | null}} Draft `revision`: of what was edited; null: it was new */

/**
 * @param {string | null} name of the API; null: a new one
 * @returns {Draft | null}
 */
export function draftOf(name) {
  try {
    const stored = JSON.parse(sessionStorage.getItem(keyOf(name)) ?? "null");
    return typeof stored?.text === "string" ? stored : null;
  } catch {
    return null;
  }
}

/** @param {string | null} name @param {Draft} draft */
export function keep(name, draft) {
  try {
    sessionStorage.setItem(keyOf(name), JSON.stringify(draft));
  } catch {
    // there is no room: the page still asks before it is left
  }
}

/** @param {string | null} name */
export function forget(name) {
  sessionStorage.removeItem(keyOf(name));
}

/** @param {string | null} name */
function keyOf(name) {
  return PREFIX + (name === null ? "new" : `api.${name}`);
}
