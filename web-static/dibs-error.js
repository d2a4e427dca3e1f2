/** What went wrong, and whether it is known to have gone wrong. */
export class DibsError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {{undecided?: boolean}} [about] undecided: nothing is known about what was asked; it may have happened
   */
  constructor(code, message = code, { undecided = false } = {}) {
    super(message);
    this.name = "DibsError";
    this.code = code;
    this.undecided = undecided;
  }
}

/** Errors that say "not decided", so the same is asked again. */
const UNDECIDED = new Set(["unavailable", "rate_limited"]);

/** @param {string} code of an `error` frame */
export function isUndecided(code) {
  return UNDECIDED.has(code);
}

/** @param {number} tries so far @param {() => number} random @returns {number} milliseconds until the next one */
export function pauseAfter(tries, random) {
  return Math.round(Math.min(5_000, 400 * 2 ** tries) * (0.5 + random() / 2));
}
