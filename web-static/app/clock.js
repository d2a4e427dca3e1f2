/**
 * The server's time, estimated: sales open by the server's clock, not by this device's.
 *
 * Each answer gives a sample of the difference and how far off it can be: half the round trip, and for the HTTP `Date`
 * header half a second more, as it counts whole seconds. The least uncertain sample wins; uncertainty grows with
 * age, as clocks drift.
 */
const DRIFT_MS_PER_MINUTE = 2;

class ServerClock {
  #offset = 0;
  #uncertainty = Infinity;
  #learnedAt = 0;

  /** @returns {number} milliseconds since 1970, as the server would say */
  now() {
    return Date.now() + this.#offset;
  }

  /** @returns {number} how far off `now()` can be, in milliseconds */
  get uncertainty() {
    return this.#uncertainty + ((performance.now() - this.#learnedAt) / 60_000) * DRIFT_MS_PER_MINUTE;
  }

  /** @param {number} serverTime @param {number} roundTripMs @param {number} [coarseness] */
  learn(serverTime, roundTripMs, coarseness = 0) {
    const uncertainty = roundTripMs / 2 + coarseness;
    if (!Number.isFinite(serverTime) || uncertainty > this.uncertainty) return;
    this.#offset = serverTime + roundTripMs / 2 - Date.now();
    this.#uncertainty = uncertainty;
    this.#learnedAt = performance.now();
  }

  /** @param {string | null} header @param {number} roundTripMs */
  learnFromDate(header, roundTripMs) {
    if (header) this.learn(Date.parse(header) + 500, roundTripMs, 500);
  }
}

export const clock = new ServerClock();
