/**
 * The newest items, at most `most` of them.
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

  /** @param {T[]} items  the oldest first */
  add(items) {
    this.kept.push(...items.slice(-this.most));
    if (this.kept.length > 2 * this.most) this.kept = this.kept.slice(-this.most);
  }

  /** Adds items that are older than all kept ones. @param {T[]} items  the oldest first */
  addOlder(items) {
    this.kept = [...items, ...this.newestFirst().reverse()].slice(-this.most);
  }

  /** @returns {T[]} */
  newestFirst() {
    return this.kept.slice(-this.most).reverse();
  }

  /** Removes and returns all items, the oldest first. @returns {T[]} */
  take() {
    const taken = this.kept.slice(-this.most);
    this.kept = [];
    return taken;
  }
}
