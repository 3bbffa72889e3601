// A token that is to be created, as the form has it and as the management API wants it.

/** @typedef {{name: string, role: string, names: string, labels: string, hosts: string, contexts: string, days: string}} TokenForm */

/**
 * @param {TokenForm} form
 * @returns {{name: string, role: string, names: string[], labels: Record<string, string>, hosts: string[], contexts: string[], days?: number | string}}
 */
export function wantedToken({ name, role, names, labels, hosts, contexts, days }) {
  return {
    name: name.trim(), role, names: items(names), labels: labelsOf(labels), hosts: items(hosts), contexts: items(contexts),
    ...(days.trim() && { days: Number.isNaN(Number(days)) ? days : Number(days) }),
  };
}

/** @param {string} text @returns {string} what is wrong with it; "": nothing */
export function labelMistake(text) {
  const wrong = items(text).filter((item) => !/^[^=]+=[^=]+$/.test(item));
  return wrong.length ? `Expected labels as name=value, got ${wrong.join(", ")}.` : "";
}

/** @param {string} text */
function labelsOf(text) {
  return Object.fromEntries(items(text).map((item) => item.split("=")));
}

/** @param {string} text items, between them commas or blanks */
function items(text) {
  return text.split(/[\s,]+/).filter(Boolean);
}
