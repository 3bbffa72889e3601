// A command line as a POSIX shell splits it into words: quotes and backslashes, and nothing that a shell would run.

/** @type {Record<string, string>} of `$'…'` */
const ESCAPES = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v", e: "\x1b", 0: "\0" };

/**
 * @param {string} text
 * @returns {string[]} where a quote is not closed, the last word is what follows it
 */
export function shellWords(text) {
  /** @type {string[]} */
  const words = [];
  let word = "";
  let begun = false;
  for (let at = 0; at < text.length; ) {
    const character = text[at];
    if (/\s/.test(character)) {
      if (begun) words.push(word);
      [word, begun] = ["", false];
      at += 1;
      continue;
    }
    const [part, next] = piece(text, at);
    begun = begun || part !== "" || character !== "\\"; // a line that goes on is no word
    word += part;
    at = next;
  }
  return begun ? [...words, word] : words;
}

/**
 * @param {string} text
 * @param {number} at
 * @returns {[string, number]} the text without its quotes, and the index behind it
 */
function piece(text, at) {
  if (text.startsWith("$'", at)) return ansi(text, at + 2);
  if (text[at] === "'") return single(text, at + 1);
  if (text[at] === '"') return double(text, at + 1);
  if (text[at] !== "\\") return [text[at], at + 1];
  const next = text[at + 1] ?? "";
  if (next === "\r" && text[at + 2] === "\n") return ["", at + 3];
  return [next === "\n" ? "" : next, at + 2];
}

/** @param {string} text @param {number} at @returns {[string, number]} */
function single(text, at) {
  const end = text.indexOf("'", at);
  return end < 0 ? [text.slice(at), text.length] : [text.slice(at, end), end + 1];
}

/** @param {string} text @param {number} at @returns {[string, number]} */
function double(text, at) {
  let content = "";
  while (at < text.length && text[at] !== '"') {
    if (text[at] === "\\" && '"\\$`\n'.includes(text[at + 1] ?? "x")) {
      content += text[at + 1] === "\n" ? "" : text[at + 1];
      at += 2;
    } else {
      content += text[at];
      at += 1;
    }
  }
  return [content, at + 1];
}

/** @param {string} text @param {number} at @returns {[string, number]} */
function ansi(text, at) {
  let content = "";
  while (at < text.length && text[at] !== "'") {
    const code = /^\\(?:u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|x([0-9a-fA-F]{1,2}))/.exec(text.slice(at, at + 10));
    if (code) {
      const number = Number.parseInt(code[1] ?? code[2] ?? code[3], 16);
      content += number <= 0x10ffff ? String.fromCodePoint(number) : "";
      at += code[0].length;
    } else if (text[at] === "\\") {
      const next = text[at + 1] ?? "";
      content += ESCAPES[next] ?? next;
      at += 2;
    } else {
      content += text[at];
      at += 1;
    }
  }
  return [content, at + 1];
}

/**
 * @param {string} word
 * @returns {string} the word, quoted so that a POSIX shell reads it unchanged
 */
export function quoted(word) {
  return /^[A-Za-z0-9@%_+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
