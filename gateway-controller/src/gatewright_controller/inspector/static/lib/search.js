// The search field of a list.

/** Whether a text has all words that are looked for, in any case. @param {string} text @param {string} wanted */
export function fits(text, wanted) {
  const whole = text.toLowerCase();
  return wanted.toLowerCase().split(/\s+/).every((word) => whole.includes(word));
}
