/**
 * Claims that are out, over a connection that comes and goes: what was not decided is asked again with the same key, on
 * whatever connection there is.
 *
 * @typedef {number | string} Id
 * @typedef {{type: "result", sale: Id, outcome: string, ticket?: number, order?: Id, remaining?: number}} Result
 * @typedef {{id: number, sale: Id, key?: string, token?: string, sent?: string, tries: number, timer: any,
 *            resolve: (result: Result) => void, reject: (error: DibsError) => void}} PendingClaim token: the caller's own
 *   pass; sent: the one that was sent
 */
import { DibsError, isUndecided, pauseAfter } from "./dibs-error.js";

export class Claims {
  /** @type {Map<number, PendingClaim>} */ #claims = new Map();
  #isReady = false;
  #options;

  /**
   * @param {{send: (frame: object) => void, nextId: () => number, random: () => number, answerWithinMs: number,
   *          keyFor: (sale: Id) => string, passFor: (sale: Id) => string | undefined,
   *          failed: (about: object) => void}} options
   */
  constructor(options) {
    this.#options = options;
  }

  /**
   * @param {Id} sale
   * @param {{key?: string, token?: string, signal?: AbortSignal}} options
   * @returns {Promise<Result>}
   */
  claim(sale, { key, token, signal }) {
    return new Promise((resolve, reject) => {
      const claim = { id: this.#options.nextId(), sale, key, token, resolve, reject, tries: 0, timer: 0 };
      this.#claims.set(claim.id, claim);
      signal?.addEventListener("abort", () => {
        if (this.#forget(claim)) reject(new DibsError("aborted", "aborted", { undecided: true }));
      });
      this.#ask(claim);
    });
  }

  /** @param {Id} sale @returns {boolean} whether one is out */
  has(sale) {
    return [...this.#claims.values()].some((claim) => String(claim.sale) === String(sale));
  }

  /** There is a connection. */
  ready() {
    this.#isReady = true;
    for (const claim of this.#claims.values()) this.#ask(claim);
  }

  /** The connection is gone; claims stay. */
  pause() {
    this.#isReady = false;
    for (const claim of this.#claims.values()) clearTimeout(claim.timer);
  }

  /** There will be no further connection. @returns {() => void} rejects what was out */
  end(error) {
    const claims = [...this.#claims.values()];
    for (const claim of claims) this.#forget(claim);
    return () => claims.forEach(({ reject }) => reject(error));
  }

  /** @param {Result} frame @returns {PendingClaim | undefined} the claim that it answers, which is out no more */
  take(frame) {
    const claim = this.#claims.get(frame.id);
    if (claim) this.#forget(claim);
    return claim;
  }

  /**
   * @param {object} frame an `error`
   * @returns {PendingClaim | null} the claim that it answers, where that is a decision; null where it will be asked again
   *   or was no claim's
   */
  fail({ id, code, message }) {
    const claim = this.#claims.get(id);
    if (!claim) return null;
    if (!isUndecided(code)) {
      this.#forget(claim);
      return claim;
    }
    const retryInMs = pauseAfter(claim.tries, this.#options.random);
    clearTimeout(claim.timer);
    claim.timer = setTimeout(() => this.#ask(claim), retryInMs);
    this.#options.failed({ code, message, sale: claim.sale, retryInMs });
    return null;
  }

  /** @param {number} id of a frame @returns {boolean} whether it is a claim's */
  isOne(id) {
    return this.#claims.has(id);
  }

  #ask(claim) {
    if (!this.#isReady || !this.#claims.has(claim.id)) return;
    clearTimeout(claim.timer);
    claim.tries += 1;
    claim.key ??= this.#options.keyFor(claim.sale);
    claim.timer = setTimeout(() => this.#ask(claim), this.#options.answerWithinMs * 2);
    claim.sent = claim.token ?? this.#options.passFor(claim.sale);
    this.#options.send({ type: "claim", id: claim.id, sale: claim.sale, key: claim.key, token: claim.sent });
  }

  #forget(claim) {
    clearTimeout(claim.timer);
    return this.#claims.delete(claim.id);
  }
}
