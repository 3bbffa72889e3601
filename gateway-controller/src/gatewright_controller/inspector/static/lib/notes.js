// What nodes note of what is not as it should be. The engine makes the notes; `gatewright status` shows the same ones.

/** @typedef {import("./nodes.js").Told} Told */
/** @typedef {import("./nodes.js").Note} Note */

/**
 * @param {Told[]} told
 * @param {string} kind of what the notes are about: "api", "policy"
 * @returns {{note: Note, node: string}[]}
 */
export function notesAbout(told, kind) {
  return told.flatMap(({ node, notes }) => (notes ?? []).filter(({ about }) => about.kind === kind).map((note) => ({ note, node: node.id })));
}

/**
 * @param {Told[]} told
 * @returns {Map<string, string>} API → what stands in the way of its upstreams, and the cure; nothing of an API without trouble
 */
export function upstreamNotes(told) {
  /** @type {Map<string, string>} */
  const found = new Map();
  for (const { note, node } of notesAbout(told, "api")) {
    const on = told.length > 1 ? ` on ${node}` : "";
    found.set(note.about.name, [found.get(note.about.name), `${note.reason}${on} (${note.cure})`].filter(Boolean).join("; "));
  }
  return found;
}

/** @param {string} text @returns {string} with a capital letter and a full stop */
export function asSentence(text) {
  return `${capital(text)}${text.endsWith(".") ? "" : "."}`;
}

/** With a capital letter, unless it begins with a name: `broken.pem: expected …`. @param {string} text */
export function capital(text) {
  return /^[a-z]+\b(?![.:/|-])/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}
