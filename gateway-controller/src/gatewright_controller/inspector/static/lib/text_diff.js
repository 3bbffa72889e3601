/**
 * What has changed between two lists of lines: E. W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986).
 *
 * @typedef {{sign: " " | "-" | "+", text: string}} Line  of both texts, of the first one alone, of the second one alone
 * @typedef {{skipped: number}} Skipped  so many lines of both texts
 */

/** Lines that both lists may have together, and differences that are looked for, before all is taken for changed. */
const MOST_LINES = 40_000;
const MOST_DIFFERENCES = 1_000;

/**
 * The lines of both in order. Those with " " and "-" are `before`, those with " " and "+" are `after`.
 * Of lists that are too long, or differ in too much, all between their common beginning and end counts as changed.
 *
 * @param {string[]} before
 * @param {string[]} after
 * @returns {Line[]}
 */
export function diffLines(before, after) {
  const start = commonStart(before, after);
  const end = commonEnd(before, after, start);
  const left = before.slice(start, before.length - end);
  const right = after.slice(start, after.length - end);
  return [
    ...before.slice(0, start).map((text) => line(" ", text)),
    ...(changed(left, right) ?? replaced(left, right)),
    ...before.slice(before.length - end).map((text) => line(" ", text)),
  ];
}

/**
 * The changes, with so many lines around each.
 *
 * @param {Line[]} lines
 * @param {number} [context]
 * @returns {(Line | Skipped)[]}
 */
export function hunks(lines, context = 2) {
  const shown = new Uint8Array(lines.length);
  lines.forEach(({ sign }, index) => {
    if (sign !== " ") shown.fill(1, Math.max(0, index - context), index + context + 1);
  });
  /** @type {(Line | Skipped)[]} */
  const rows = [];
  lines.forEach((line, index) => {
    const last = rows.at(-1);
    if (shown[index]) rows.push(line);
    else if (last && "skipped" in last) last.skipped += 1;
    else rows.push({ skipped: 1 });
  });
  return rows;
}

/** @param {Line["sign"]} sign @param {string} text @returns {Line} */
function line(sign, text) {
  return { sign, text };
}

/** @param {string[]} left @param {string[]} right */
function replaced(left, right) {
  return [...left.map((text) => line("-", text)), ...right.map((text) => line("+", text))];
}

/** @param {string[]} before @param {string[]} after */
function commonStart(before, after) {
  const most = Math.min(before.length, after.length);
  let count = 0;
  while (count < most && before[count] === after[count]) count += 1;
  return count;
}

/** @param {string[]} before @param {string[]} after @param {number} start */
function commonEnd(before, after, start) {
  const most = Math.min(before.length, after.length) - start;
  let count = 0;
  while (count < most && before[before.length - 1 - count] === after[after.length - 1 - count]) count += 1;
  return count;
}

/**
 * The shortest way from one to the other; null if the texts are too long.
 *
 * @param {string[]} left
 * @param {string[]} right
 * @returns {Line[] | null}
 */
function changed(left, right) {
  if (!left.length || !right.length) return replaced(left, right);
  if (left.length + right.length > MOST_LINES) return null;
  const reached = furthest(left, right);
  return reached && wayBack(left, right, reached);
}

/**
 * For each number of differences, how far into `left` each diagonal comes (x, by diagonal x - y); null if too many.
 *
 * @param {string[]} left
 * @param {string[]} right
 */
function furthest(left, right) {
  const most = Math.min(MOST_DIFFERENCES, left.length + right.length);
  const far = new Int32Array(2 * most + 3);
  const reached = [];
  for (let count = 0; count <= most; count += 1) {
    for (let diagonal = -count; diagonal <= count; diagonal += 2) {
      const at = most + 1 + diagonal;
      let x = isDown(far, at, diagonal, count) ? far[at + 1] : far[at - 1] + 1;
      while (x < left.length && x - diagonal < right.length && left[x] === right[x - diagonal]) x += 1;
      far[at] = x;
      if (x >= left.length && x - diagonal >= right.length) return [...reached, part(far, most, count)];
    }
    reached.push(part(far, most, count));
  }
  return null;
}

/** The diagonals -count - 1 to count + 1. @param {Int32Array} far @param {number} most @param {number} count */
function part(far, most, count) {
  return far.slice(most - count, most + count + 3);
}

/**
 * Whether the furthest way onto a diagonal inserts a line (from the diagonal above), or removes one.
 *
 * @param {Int32Array} far
 * @param {number} at
 * @param {number} diagonal
 * @param {number} count
 */
function isDown(far, at, diagonal, count) {
  return diagonal === -count || (diagonal !== count && far[at - 1] < far[at + 1]);
}

/** @param {string[]} left @param {string[]} right @param {Int32Array[]} reached */
function wayBack(left, right, reached) {
  const lines = [];
  let [x, y] = [left.length, right.length];
  for (let count = reached.length - 1; count > 0; count -= 1) {
    const diagonal = x - y;
    const far = reached[count - 1]; // of diagonals -count to count
    const down = isDown(far, diagonal + count, diagonal, count);
    const fromDiagonal = down ? diagonal + 1 : diagonal - 1;
    const fromX = far[fromDiagonal + count];
    for (; x > (down ? fromX : fromX + 1); x -= 1, y -= 1) lines.push(line(" ", left[x - 1]));
    lines.push(down ? line("+", right[y - 1]) : line("-", left[x - 1]));
    [x, y] = [fromX, fromX - fromDiagonal];
  }
  for (; x > 0; x -= 1) lines.push(line(" ", left[x - 1]));
  return lines.reverse();
}
