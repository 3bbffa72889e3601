/**
 * Numbers that look random and are the same each time: Marsaglia's xorshift of 32 bits.
 *
 * @param {number} seed  not 0
 * @returns {(below: number) => number}  the next one, from 0 to below it
 */
export function random(seed) {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
