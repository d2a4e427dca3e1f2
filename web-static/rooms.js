/**
 * Joining and leaving waiting rooms over a connection that comes and goes: one question per room is out, the newest wish
 * wins, and what was not decided is asked again.
 *
 * @typedef {{id: number, type: "join" | "leave", room: string, tries: number, timer: any,
 *            waiters: {resolve: (frame: object) => void, reject: (error: DibsError) => void}[]}} Ask
 */
import { DibsError, isUndecided, pauseAfter } from "./dibs-error.js";
import { Places } from "./places.js";

export class Rooms {
  places = new Places();
  /** @type {Map<string, Ask>} by room */ #asks = new Map();
  #isReady = false;
  #options;

  /**
   * @param {{send: (frame: object) => void, nextId: () => number, random: () => number, answerWithinMs: number,
   *          changed: (room: string) => void, failed: (about: object) => void}} options
   */
  constructor(options) {
    this.#options = options;
  }

  /** @param {"join" | "leave"} type @param {string} room @returns {Promise<object>} the frame that answered */
  ask(type, room) {
    return new Promise((resolve, reject) => {
      if (type === "join") this.places.ask(room);
      else this.places.leave(room);
      this.#options.changed(room);
      this.#askFor(type, room).waiters.push({ resolve, reject });
    });
  }

  /** Everything that was missed has been told: places can be asked for again. */
  ready() {
    this.#isReady = true;
    for (const ask of this.#asks.values()) this.#send(ask);
    for (const room of this.places.kept) this.#askFor("join", room);
    for (const room of this.places.leaving) this.#askFor("leave", room);
  }

  /** The connection is gone; questions stay. */
  pause() {
    this.#isReady = false;
    for (const ask of this.#asks.values()) clearTimeout(ask.timer);
  }

  /** There will be no further connection. */
  end(error) {
    this.pause();
    for (const room of [...this.#asks.keys()]) this.#settle(room, ({ reject }) => reject(error));
  }

  /** @param {object} frame `joined`, `rank`, `admitted`, `expired` or `left` */
  hear(frame) {
    const room = String(frame.room);
    if (this.places.hear(frame)) this.#options.changed(room);
    const { type } = this.#asks.get(room) ?? {};
    const isAnswer = type === "join" ? ["joined", "admitted"].includes(frame.type) : frame.type === "left";
    if (isAnswer) this.#settle(room, ({ resolve }) => resolve(frame));
  }

  /** @param {object} frame an `error` @returns {boolean} whether it was an answer to a question of this */
  fail({ id, code, message }) {
    const ask = [...this.#asks.values()].find((one) => one.id === id);
    if (!ask) return false;
    const { room } = ask;
    if (isUndecided(code)) {
      const retryInMs = pauseAfter(ask.tries, this.#options.random);
      clearTimeout(ask.timer);
      ask.timer = setTimeout(() => this.#send(ask), retryInMs);
      this.#options.failed({ code, message, room, retryInMs });
      return true;
    }
    this.places.refuse(room, ask.type === "leave" ? "left" : code);
    this.#options.changed(room);
    this.#options.failed({ code, message, room });
    this.#settle(room, ({ reject }) => reject(new DibsError(code, message)));
    return true;
  }

  #askFor(type, room) {
    const known = this.#asks.get(room);
    if (known?.type === type) return known;
    if (known) this.#settle(room, ({ reject }) => reject(new DibsError("aborted", "thought better of it")));
    const ask = { id: this.#options.nextId(), type, room, tries: 0, timer: 0, waiters: [] };
    this.#asks.set(room, ask);
    this.#send(ask);
    return ask;
  }

  #send(ask) {
    if (!this.#isReady || this.#asks.get(ask.room) !== ask) return;
    clearTimeout(ask.timer);
    ask.tries += 1;
    ask.timer = setTimeout(() => this.#send(ask), this.#options.answerWithinMs * 2);
    this.#options.send({ type: ask.type, id: ask.id, room: ask.room });
  }

  #settle(room, tell) {
    const ask = this.#asks.get(room);
    if (!ask) return;
    clearTimeout(ask.timer);
    this.#asks.delete(room);
    ask.waiters.forEach(tell);
  }
}
