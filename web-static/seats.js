/**
 * Watching the seats of performances and holding some, over a connection that comes and goes: each connection is asked
 * for everything that is watched, and what was not decided is asked again. The same client asking for the same seats
 * gets the same hold, so that asking again takes nothing twice and stretches nothing.
 *
 * @typedef {number | string} Id
 * @typedef {{type: "held", reservationId: string, performance: Id, seats: number[], expiresAt: string, price: number}} Held
 * @typedef {{id: number, frame: object, tries: number, timer: any}} Ask
 * @typedef {Ask & {token?: string, sent?: string, resolve: (held: Held) => void,
 *                  reject: (error: DibsError) => void}} Hold token: the caller's own pass; sent: the one that was sent
 * @typedef {{performance: Id, states: SeatStates, ask: Ask | null}} Watched
 */
import { DibsError, isUndecided, pauseAfter } from "./dibs-error.js";
import { SeatStates } from "./seat-states.js";

export class Seats {
  /** @type {Map<string, Watched>} */ #watched = new Map();
  /** @type {Map<number, Hold>} */ #holds = new Map();
  /** Which room a performance has, where that was said. @type {Map<string, string>} */ #rooms = new Map();
  #isReady = false;
  #options;

  /**
   * @param {{send: (frame: object) => void, nextId: () => number, random: () => number, answerWithinMs: number,
   *          passFor: (room: string | undefined) => string | undefined, failed: (about: object) => void}} options
   */
  constructor(options) {
    this.#options = options;
  }

  /** @param {Id} performance @returns {SeatStates | null} null if it is not watched */
  of(performance) {
    return this.#watched.get(String(performance))?.states ?? null;
  }

  /** @param {Id} performance @returns {string | undefined} */
  roomOf(performance) {
    return this.#rooms.get(String(performance));
  }

  /** @param {Id} performance @param {string} [room] */
  watch(performance, room) {
    const key = String(performance);
    if (room) this.#rooms.set(key, String(room));
    if (this.#watched.has(key)) return;
    const watched = { performance, states: new SeatStates(), ask: null };
    this.#watched.set(key, watched);
    if (this.#isReady) this.#askToWatch(watched);
  }

  /** @param {Id} performance */
  unwatch(performance) {
    const watched = this.#watched.get(String(performance));
    if (!this.#watched.delete(String(performance))) return;
    clearTimeout(watched.ask?.timer);
    if (this.#isReady) this.#options.send({ type: "unwatch", performance });
  }

  /** @param {Id} performance @param {number[]} seats @param {string} [token] @returns {Promise<Held>} */
  hold(performance, seats, token) {
    return new Promise((resolve, reject) => {
      const id = this.#options.nextId();
      const hold = { id, frame: { type: "hold", performance, seats }, token, tries: 0, timer: 0, resolve, reject };
      this.#holds.set(id, hold);
      if (this.#isReady) this.#send(hold);
    });
  }

  /** There is a connection. */
  ready() {
    this.#isReady = true;
    for (const watched of this.#watched.values()) this.#askToWatch(watched);
    for (const hold of this.#holds.values()) this.#send(hold);
  }

  /** The connection is gone; what is wanted stays. */
  pause() {
    this.#isReady = false;
    for (const ask of this.#asks()) clearTimeout(ask.timer);
  }

  /** There will be no further connection. */
  end(error) {
    this.pause();
    const holds = [...this.#holds.values()];
    this.#holds.clear();
    for (const hold of holds) hold.reject(error);
  }

  /**
   * @param {object} frame `seats`
   * @returns {import("./seat-states.js").News | null} what is new
   */
  hear(frame) {
    const watched = this.#watched.get(String(frame.performance));
    if (!watched) return null;
    if (watched.ask && frame.id === watched.ask.id) {
      clearTimeout(watched.ask.timer);
      watched.ask = null;
    }
    return watched.states.hear(frame);
  }

  /** @param {Held} frame */
  decide(frame) {
    const hold = this.#holds.get(frame.id);
    if (hold) this.#forget(hold).resolve(frame);
  }

  /** @param {object} frame an `error` @returns {{refusedPass?: string} | null} null if this did not ask for it */
  fail({ id, code, message, seats }) {
    const ask = [...this.#asks()].find((one) => one.id === id);
    if (!ask) return null;
    const { performance } = ask.frame;
    clearTimeout(ask.timer);
    if (isUndecided(code)) {
      const retryInMs = pauseAfter(ask.tries, this.#options.random);
      ask.timer = setTimeout(() => this.#send(ask), retryInMs);
      this.#options.failed({ code, message, performance, retryInMs });
      return {};
    }
    this.#options.failed({ code, message, performance });
    const hold = this.#holds.get(id);
    if (!hold) return {};
    this.#forget(hold).reject(new DibsError(code, message, { seats: (seats ?? []).map(Number) }));
    return code === "not_admitted" ? { refusedPass: hold.sent } : {};
  }

  *#asks() {
    for (const { ask } of this.#watched.values()) if (ask) yield ask;
    yield* this.#holds.values();
  }

  #askToWatch(watched) {
    clearTimeout(watched.ask?.timer);
    const frame = { type: "watch", performance: watched.performance, compact: true };
    watched.ask = { id: this.#options.nextId(), frame, tries: 0, timer: 0 };
    this.#send(watched.ask);
  }

  #send(ask) {
    const isWanted = this.#holds.get(ask.id) === ask
      || this.#watched.get(String(ask.frame.performance))?.ask === ask;
    if (!this.#isReady || !isWanted) return;
    clearTimeout(ask.timer);
    ask.tries += 1;
    ask.timer = setTimeout(() => this.#send(ask), this.#options.answerWithinMs * 2);
    const { frame } = ask;
    if (frame.type === "hold") ask.sent = ask.token ?? this.#options.passFor(this.roomOf(frame.performance));
    this.#options.send({ ...frame, id: ask.id, ...(frame.type === "hold" ? { token: ask.sent } : {}) });
  }

  #forget(hold) {
    clearTimeout(hold.timer);
    this.#holds.delete(hold.id);
    return hold;
  }
}
