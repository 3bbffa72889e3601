/**
 * The newest of what comes, and no more than so many.
 *
 * @template T
 */
export class Newest {
  /** @param {number} most */
  constructor(most) {
    this.most = most;
    /** @type {T[]} */
    this.kept = []; // the oldest first
  }

  /** @param {T[]} found  the oldest first */
  add(found) {
    this.kept.push(...found.slice(-this.most));
    if (this.kept.length > 2 * this.most) this.kept = this.kept.slice(-this.most);
  }

  /** Those that are older than all that is kept. @param {T[]} found  the oldest first */
  addOlder(found) {
    this.kept = [...found, ...this.newestFirst().reverse()].slice(-this.most);
  }

  /** @returns {T[]} */
  newestFirst() {
    return this.kept.slice(-this.most).reverse();
  }

  /** All, the oldest first, which are no longer kept. @returns {T[]} */
  take() {
    const taken = this.kept.slice(-this.most);
    this.kept = [];
    return taken;
  }
}
