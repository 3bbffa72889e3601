// Writes of a resource, as its history and the audit log have them, in words.

/**
 * @typedef {object} Entry of a history
 * @property {number} revision
 * @property {string} action
 * @property {string} at
 * @property {string} actor
 * @property {string} origin the address of the client, or the file
 * @property {string} reason
 * @property {string} owner
 * @property {string} [from] `orders@3`: what a rollback took, or an API's name before
 * @property {string} [to] the name that the API has got
 */

/** @param {string} action @returns {string} `rolled back` */
export function spaced(action) {
  return action.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** @param {{action: string, from?: string, to?: string}} entry @returns {string} `rolled back to orders@3` */
export function actionInWords({ action, from, to }) {
  if (action === "rolledBack") return from ? `rolled back to ${from}` : "rolled back";
  return [spaced(action), from && `from ${from}`, to && `to ${to}`].filter(Boolean).join(" ");
}

/** Whether the resource was there after this write. @param {{action: string, to?: string}} entry */
export function isThere({ action, to }) {
  return action !== "deleted" && !(action === "renamed" && to);
}

/**
 * What a rollback would do, by its dry run.
 * @param {string} noun of what is rolled back
 * @param {{kind: string}} change @param {{added: number, removed: number}} lines
 */
export function rollbackInWords(noun, { kind }, { added, removed }) {
  if (kind === "unchanged") return `Nothing would change: the ${noun} is as it was then.`;
  if (kind === "created") return `The ${noun} would be there again.`;
  return `${lineCount(added)} would be added, ${removed} removed.`;
}

/** @param {number} count */
function lineCount(count) {
  return count === 1 ? "1 line" : `${count} lines`;
}
