/** The seats of the performances that somebody looks at, on whichever connection there is. */
import { live } from "./live.js";

class Seats {
  /** @type {Map<string, {id: string | number, room: string}>} */ #watched = new Map();
  /** @type {Map<string, Set<(news: import("../../seat-states.js").News) => void>>} */ #listeners = new Map();
  #dibs = null;

  constructor() {
    live.frames.addEventListener("seats", ({ detail: { performance, ...news } }) => {
      for (const listener of this.#listeners.get(String(performance)) ?? []) listener(news);
    });
    live.listen(() => this.#follow());
  }

  /** @returns {import("../../seat-states.js").SeatStates | null} null without a connection, or where none is watched */
  of(id) {
    const states = live.dibs?.seats(id) ?? null;
    return states?.isKnown ? states : null;
  }

  watch(id, room) {
    this.#watched.set(String(id), { id, room });
    live.dibs?.watchSeats(id, { room });
  }

  unwatch(id) {
    this.#watched.delete(String(id));
    live.dibs?.unwatchSeats(id);
  }

  /** @param {(news: import("../../seat-states.js").News) => void} listener @returns {() => void} stops listening */
  listen(id, listener) {
    const key = String(id);
    if (!this.#listeners.has(key)) this.#listeners.set(key, new Set());
    this.#listeners.get(key).add(listener);
    return () => this.#listeners.get(key).delete(listener);
  }

  /** Somebody else signed in: another connection, which knows of nothing yet. */
  #follow() {
    if (live.dibs === this.#dibs) return;
    this.#dibs = live.dibs;
    for (const { id, room } of this.#watched.values()) live.dibs?.watchSeats(id, { room });
  }
}

export const seats = new Seats();
