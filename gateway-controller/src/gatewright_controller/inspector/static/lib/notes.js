// Notes of nodes about problems. The engine makes them; `gatewright status` shows the same notes.

/** @typedef {import("./nodes.js").NodeReport} NodeReport */
/** @typedef {import("./nodes.js").Note} Note */

/**
 * @param {NodeReport[]} reports
 * @param {string} kind of what the notes are about: "api", "policy"
 * @returns {{note: Note, node: string}[]}
 */
export function notesAbout(reports, kind) {
  return reports.flatMap(({ node, notes }) => (notes ?? []).filter(({ about }) => about.kind === kind).map((note) => ({ note, node: node.id })));
}

/**
 * @param {NodeReport[]} reports
 * @returns {Map<string, string>} API → the trouble with its upstreams, and the cure; APIs without trouble have no entry
 */
export function upstreamNotes(reports) {
  /** @type {Map<string, string>} */
  const byApi = new Map();
  for (const { note, node } of notesAbout(reports, "api")) {
    const on = reports.length > 1 ? ` on ${node}` : "";
    byApi.set(note.about.name, [byApi.get(note.about.name), `${note.reason}${on} (${note.cure})`].filter(Boolean).join("; "));
  }
  return byApi;
}

/** @param {string} text @returns {string} with a capital letter and a full stop */
export function asSentence(text) {
  return `${capital(text)}${text.endsWith(".") ? "" : "."}`;
}

/** With a capital letter, unless it begins with a name: `broken.pem: expected …`. @param {string} text */
export function capital(text) {
  return /^[a-z]+\b(?![.:/|-])/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}
