/** The list that one exchange was opened from: those before and after it, and the way back. */

/** @typedef {{id: string}} Listed */

/** @type {Listed[]} */
let listed = [];
let address = "#/exchanges";

/** @param {Listed[]} exchanges  the newest first @param {string} from  the list's address */
export function remember(exchanges, from) {
  listed = exchanges.map(({ id }) => ({ id }));
  address = from;
}

/** @param {string} id @returns {{newer?: string, older?: string, list: string}} request ids */
export function neighbours(id) {
  const at = listed.findIndex((summary) => summary.id === id);
  if (at < 0) return { list: address };
  return { newer: listed[at - 1]?.id, older: listed[at + 1]?.id, list: address };
}
