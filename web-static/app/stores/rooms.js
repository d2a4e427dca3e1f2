/**
 * The waiting rooms as the operator sees them, and how their figures went over the last minutes: the server tells the
 * present ones only, so this page remembers what it was told, for as long as it is open.
 *
 * @typedef {"fifo" | "random" | "passthrough" | "reject"} Ordering
 * @typedef {object} Room
 * @property {string} id
 * @property {number} maxActive
 * @property {number} passSeconds
 * @property {number | null} admitPerMinute
 * @property {number} graceSeconds
 * @property {Ordering} ordering
 * @property {number} waiting
 * @property {number} active
 * @property {number} joined
 * @property {number} admitted
 * @property {number} left by themselves
 * @property {number} vanished without a sign of life
 * @property {number} closed sent home when the last sale ended
 * @property {number} expired passes that ran out
 * @property {number} noShow let in, and never came
 * @property {number} spent passes
 * @property {number | null} pacePerMinute
 * @property {string | null} opensAt
 * @property {string} seedSha256
 * @property {string | null} seed
 * @property {string | null} drawnAt
 */
import { clock } from "../clock.js";
import { path } from "../rest.js";
import { session } from "./session.js";

const REMEMBERED_MS = 5 * 60_000;
export const ORDERINGS = ["fifo", "random", "passthrough", "reject"];

class Rooms {
  /** @type {Map<string, Room>} */ #known = new Map();
  /** @type {Map<string, {at: string, waiting: number, active: number, maxActive: number, pace: number | null}[]>} */
  #series = new Map();

  /** @returns {Room | undefined} */
  get(id) {
    return this.#known.get(id);
  }

  /** @returns {Room[]} */
  get all() {
    return [...this.#known.values()].sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
  }

  /** The figures of the last minutes, as a plot takes them. */
  series(id) {
    return this.#series.get(id) ?? [];
  }

  async loadAll() {
    const answer = await session.adminCall("GET", "api/rooms");
    this.#known = new Map();
    answer.forEach((room) => this.learn(room));
  }

  async load(id) {
    this.learn(await session.adminCall("GET", path`api/rooms/${id}`));
  }

  /** @param {Room} room */
  learn(room) {
    const now = clock.now();
    const { waiting, active, maxActive, pacePerMinute } = room;
    const sample = { at: new Date(now).toISOString(), waiting, active, maxActive, pace: pacePerMinute ?? null };
    const recent = this.series(room.id).filter(({ at }) => now - Date.parse(at) < REMEMBERED_MS);
    this.#known.set(room.id, room);
    this.#series.set(room.id, [...recent, sample]);
  }
}

export const rooms = new Rooms();
