// JSON for people: lines and indents, and each value as it was written. JSON.parse would change long numbers.

/**
 * @param {string} text
 * @returns {string | null} null where it is no JSON
 */
export function prettyJson(text) {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let shown = "";
  let depth = 0;
  for (const [index, token] of tokens.entries()) {
    if (token === "}" || token === "]") {
      depth -= 1;
      shown += isOpening(tokens[index - 1]) ? token : line(depth) + token;
    } else if (isOpening(token)) {
      depth += 1;
      shown += token + (/[}\]]/.test(tokens[index + 1]) ? "" : line(depth));
    } else if (token === ",") shown += token + line(depth);
    else shown += token === ":" ? ": " : token;
  }
  return shown;
}

/** @param {string} token */
function isOpening(token) {
  return token === "{" || token === "[";
}

/** @param {number} depth */
function line(depth) {
  return `\n${"  ".repeat(depth)}`;
}
