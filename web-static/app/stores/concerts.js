/**
 * The concerts and their dates, as last asked for. How many seats are left changes all the time: where a performance is
 * watched, `seats.js` knows better.
 *
 * @typedef {{name: string, rows: number, seatsPerRow: number}} Section
 * @typedef {object} Performance
 * @property {number} concertDetailId
 * @property {string} startsAt
 * @property {number} price of one seat
 * @property {string} room its waiting room
 * @property {number} holdSeconds
 * @property {number | null} perClientLimit how many seats one client may have; null or 0 for no limit
 * @property {number} seats
 * @property {number} remaining
 * @property {Section[] | null} sections null where seats are only numbered
 *
 * @typedef {{concertId: number, name: string, dates: Performance[]}} Concert
 */
import { clock } from "../clock.js";
import { call, path } from "../rest.js";
import { Signal } from "../signal.js";
import { live } from "./live.js";

const POLL_MS = 5_000;
const POLL_CONNECTED_MS = 15_000;

class Concerts extends Signal {
  /** @type {Map<string, Concert>} Newest first. */ #known = new Map();

  /** @returns {Concert[]} newest first */
  get all() {
    return [...this.#known.values()];
  }

  /** @returns {Concert | undefined} */
  get(id) {
    return this.#known.get(String(id));
  }

  /** @returns {{concert: Concert, date: Performance} | null} */
  performance(id) {
    for (const concert of this.#known.values()) {
      const date = concert.dates.find(({ concertDetailId }) => String(concertDetailId) === String(id));
      if (date) return { concert, date };
    }
    return null;
  }

  async loadAll() {
    const answers = await call("GET", "api/concerts");
    this.#known = new Map(answers.map((concert) => [String(concert.concertId), sorted(concert)]));
    this.tell();
  }

  async load(id) {
    this.#known.set(String(id), sorted(await call("GET", path`api/concerts/${id}`)));
    this.tell();
  }

  /**
   * Keeps concerts up to date while somebody looks: all of them, or the one with this id.
   * @param {string | number | null} id
   * @param {(error: Error | null) => void} heard after each answer
   * @returns {() => void} stops it
   */
  follow(id, heard) {
    let timer = 0;
    let stopped = false;
    const ask = async () => {
      clearTimeout(timer);
      let error = null;
      try {
        if (!document.hidden) await (id === null ? this.loadAll() : this.load(id));
      } catch (caught) {
        error = caught;
      }
      if (stopped) return;
      const pause = error?.retryAfterMs ?? (live.state === "connected" ? POLL_CONNECTED_MS : POLL_MS);
      clearTimeout(timer);
      timer = setTimeout(ask, pause * (0.75 + Math.random() / 2));
      heard(error);
    };
    document.addEventListener("visibilitychange", ask);
    ask();
    return () => {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }
}

function sorted(concert) {
  return { ...concert, dates: [...concert.dates].sort((a, b) => Date.parse(a.startsAt) - Date.parse(b.startsAt)) };
}

/** @param {Performance} date @returns {boolean} whether it has begun, by the server's clock */
export function hasBegun(date) {
  return clock.now() >= Date.parse(date.startsAt);
}

export const concerts = new Concerts();
