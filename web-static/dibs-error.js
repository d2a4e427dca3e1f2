/** What went wrong, and whether it is known to have gone wrong. */
export class DibsError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {{undecided?: boolean, seats?: number[]}} [about] undecided: nothing is known about what was asked; it may
   *   have happened. seats: those that are not free, for `seat_taken`
   */
  constructor(code, message = code, { undecided = false, seats = [] } = {}) {
    super(message);
    this.name = "DibsError";
    this.code = code;
    this.undecided = undecided;
    this.seats = seats;
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
