/**
 * What a connection can be told otherwise.
 *
 * @typedef {object} Options
 * @property {import("./kept.js").KeyValueStore | null} [storage] where the position, places in line and undecided keys
 *   are kept over a reload: `sessionStorage` (the default; one position per tab), `localStorage`, or null for none
 * @property {number} [pauseBaseMs] upper bound of the first random pause before reconnecting, doubled each time
 * @property {number} [pauseMaxMs]
 * @property {number} [pingEveryMs] silence after which a ping is sent
 * @property {number} [answerWithinMs] silence after a frame that wants an answer until the connection counts as dead
 * @property {number} [random] for tests: `() => number` in 0..<1
 */
export const DEFAULTS = {
  pauseBaseMs: 500, pauseMaxMs: 20_000, pingEveryMs: 15_000, answerWithinMs: 10_000, random: Math.random,
};
