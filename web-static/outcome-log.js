/**
 * Which outcomes of this client were already seen.
 *
 * The server numbers a client's outcomes 1, 2, 3, … within an *epoch*. After a reconnect we ask for everything after
 * the last number below which nothing is missing. Two things make a plain "highest number seen" wrong:
 *
 * - The direct answer to a claim and a push from another instance may overtake each other: 6 can come before 5.
 *   Keeping 6 as the position would lose 5 for ever if the connection ended in between. So the position is the end of
 *   the unbroken run, and what lies beyond it is remembered one by one.
 * - Where the server cannot replay (`recovered` is false) it tells the present truth instead, without numbers, and
 *   counting goes on from its own position.
 *
 * Pure: no socket, no clock, no storage.
 *
 * @typedef {{epoch: string, offset: number}} Position
 */
export class OutcomeLog {
  /** @type {string | null} */ #epoch;
  /** @type {number} */ #offset;
  /** @type {Set<number>} seen, but beyond a hole */ #ahead = new Set();

  /** @param {Position | null} [saved] */
  constructor(saved = null) {
    this.#epoch = saved?.epoch ?? null;
    this.#offset = saved?.offset ?? 0;
  }

  /** @returns {Position | undefined} what to ask the server to resume from */
  get position() {
    return this.#epoch === null ? undefined : { epoch: this.#epoch, offset: this.#offset };
  }

  /** Something later arrived while something earlier has not. */
  get hasHole() {
    return this.#ahead.size > 0;
  }

  /** @param {{epoch: string, offset: number, recovered: boolean}} connected the server's first frame */
  connected({ epoch, offset, recovered }) {
    if (recovered && epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#offset = offset;
    this.#ahead.clear();
  }

  /** @param {number} offset @returns {boolean} whether it was not seen yet */
  isNew(offset) {
    return offset > this.#offset && !this.#ahead.has(offset);
  }

  /**
   * @param {number} offset
   * @returns {boolean} true the first time, false for a repetition
   */
  accept(offset) {
    if (!this.isNew(offset)) return false;
    this.#ahead.add(offset);
    while (this.#ahead.delete(this.#offset + 1)) this.#offset += 1;
    return true;
  }

  /** Gives up on what is missing: the server was asked again and still did not send it. */
  skipHole() {
    if (!this.hasHole) return;
    this.#offset = Math.max(...this.#ahead);
    this.#ahead.clear();
  }
}
