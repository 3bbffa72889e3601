/** Makes text of clients and policies visible: it may have characters that hide or turn text around. */

const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;
/** @type {Record<string, string>} */
const SHORT = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/**
 * On one line, with characters that are not seen as escapes: control characters, those that change the direction of
 * text, blanks other than the usual one. As `gatewright explain` has it.
 *
 * @param {string} text
 */
export function visible(text) {
  return text.replace(UNSEEN, escaped);
}

/** @param {string} character */
function escaped(character) {
  const code = /** @type {number} */ (character.codePointAt(0));
  const [prefix, digits] = code < 0x100 ? ["\\x", 2] : code < 0x10000 ? ["\\u", 4] : ["\\U", 8];
  return SHORT[character] ?? prefix + code.toString(16).padStart(digits, "0");
}

/** The text, or its beginning with an ellipsis. @param {string} text @param {number} most characters */
export function cut(text, most) {
  if (text.length <= most) return text;
  const end = /[\ud800-\udbff]/.test(text[most - 2]) ? most - 2 : most - 1; // a character may be two units
  return `${text.slice(0, end)}…`;
}
