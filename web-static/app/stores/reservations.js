/**
 * The signed-in buyer's reservations, of all performances: what is held, until when, and what became of it.
 *
 * The server's list is the truth; a `reservation` frame changes one in it. Whoever wasn't told of something (another tab
 * took a hold, the connection couldn't be resumed) asks for the list again.
 *
 * @typedef {object} Reservation
 * @property {string} reservationId
 * @property {number} concertDetailId
 * @property {number} concertId
 * @property {string} concertName
 * @property {string} startsAt
 * @property {number[]} seatIds
 * @property {number} price of all its seats
 * @property {"held" | "paid" | "expired" | "released"} status
 * @property {string} expiresAt
 * @property {boolean} refunded
 */
import { clock } from "../clock.js";
import { path } from "../rest.js";
import { Signal } from "../signal.js";
import { live } from "./live.js";
import { points } from "./points.js";
import { session } from "./session.js";

/** Where a payment is not decided, it is asked again, with the same key: it is charged once. */
const PAUSES_MS = [1_000, 1_500, 2_500, 4_000];

class Reservations extends Signal {
  /** @type {Reservation[]} Newest first. */ all = [];
  /** The server was asked: without that, none does not mean none. */ isLoaded = false;
  /** Payments that are out and not decided, with why: a code, or null. @type {Map<string, string | null>} */
  #paying = new Map();
  #userId = null;
  /** Counts what was heard and done here, so that an answer of before it never undoes it. */ #changes = 0;

  constructor() {
    super();
    session.listen(() => this.#follow());
    this.#follow();
    live.frames.addEventListener("reservation", ({ detail }) => this.#heard(detail));
    live.frames.addEventListener("connected", ({ detail }) => {
      // What was missed is told again where the connection was resumed. A hold is no outcome, but its answer.
      if (this.isLoaded && !detail.recovered) this.load().catch(() => {});
    });
  }

  /** @returns {Reservation[]} newest first */
  of(performance) {
    return this.all.filter(({ concertDetailId }) => String(concertDetailId) === String(performance));
  }

  /** @returns {boolean} whether a payment of it is out */
  isPaying(id) {
    return this.#paying.has(id);
  }

  /** @returns {string | null} why it takes so long to pay: a code such as `unavailable` */
  obstacle(id) {
    return this.#paying.get(id) ?? null;
  }

  #follow() {
    const userId = session.user?.userId ?? null;
    if (userId === this.#userId) return;
    this.#userId = userId;
    this.all = [];
    this.isLoaded = false;
    this.#paying.clear();
    this.tell();
  }

  async load() {
    const userId = this.#userId;
    if (userId === null) return;
    let list, changes;
    do {
      changes = this.#changes;
      list = await session.call("GET", path`api/users/${userId}/reservations`);
      if (this.#userId !== userId) return;
    } while (changes !== this.#changes);
    this.all = list.map((one) => ({ ...one, reservationId: String(one.reservationId) }));
    this.isLoaded = true;
    this.tell();
  }

  /**
   * Holds seats. @returns {Promise<void>} rejects with what `dibs.hold` rejects with
   * @param {import("./concerts.js").Concert} concert
   * @param {import("./concerts.js").Performance} date
   * @param {number[]} seats
   */
  async hold(concert, date, seats) {
    const userId = this.#userId;
    live.reconnect();
    const held = await live.dibs.hold(date.concertDetailId, seats);
    if (this.#userId !== userId) return;
    this.#put({
      reservationId: String(held.reservationId), concertDetailId: date.concertDetailId, concertId: concert.concertId,
      concertName: concert.name, startsAt: date.startsAt, seatIds: held.seats ?? seats, price: held.price,
      status: "held", heldAt: new Date(clock.now()).toISOString(), expiresAt: held.expiresAt, paidAt: null, endedAt: null,
      paymentId: null, refunded: false,
    });
  }

  /**
   * Pays. Resolves when it is paid, and goes on asking while that is not decided.
   * @param {Reservation} reservation
   * @param {string} room of the performance, whose pass is shown
   * @returns {Promise<void>} rejects with an `ApiError` if it is refused
   */
  async pay(reservation, room) {
    const { reservationId: id, price: point } = reservation;
    if (this.#paying.has(id)) return;
    const userId = this.#userId;
    const keyName = `dibs:pay:${userId}:${id}`;
    const key = sessionStorage.getItem(keyName) ?? newKey();
    sessionStorage.setItem(keyName, key);
    this.#paying.set(id, null);
    this.tell();
    try {
      for (let tries = 0; this.#userId === userId; tries += 1) {
        const pass = live.dibs?.place(room).token;
        const headers = { "idempotency-key": key, ...(pass ? { token: pass } : {}) };
        try {
          await session.call("POST", "api/payment", { headers, body: { reservationId: id, userId, point } });
          return this.#paid(id, keyName);
        } catch (error) {
          if (error.code === "already_paid") return this.#paid(id, keyName);
          if (!error.isUndecided) {
            sessionStorage.removeItem(keyName);
            if (error.code === "not_admitted" && pass) live.dibs?.refusePass(pass);
            throw error;
          }
          this.#paying.set(id, error.code);
          this.tell();
          await pause(error.retryAfterMs, PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)]);
        }
      }
    } finally {
      this.#paying.delete(id);
      points.load().catch(() => {});
      this.tell();
    }
  }

  /** Gives a hold back, or cancels what is paid and gets the points back. @param {Reservation} reservation */
  async release({ reservationId }) {
    const answer = await session.call("DELETE", path`api/reservations/${reservationId}`);
    this.#put(answer);
    points.load().catch(() => {});
  }

  #paid(id, keyName) {
    sessionStorage.removeItem(keyName);
    this.#change(id, { status: "paid" });
  }

  #heard({ reservationId, status }) {
    this.#change(String(reservationId), { status });
    if (this.isLoaded) this.load().catch(() => {});
    if (status !== "expired") points.load().catch(() => {});
  }

  #put(answer) {
    this.#changes += 1;
    const reservation = { ...answer, reservationId: String(answer.reservationId) };
    const others = this.all.filter(({ reservationId }) => reservationId !== reservation.reservationId);
    const at = this.all.findIndex(({ reservationId }) => reservationId === reservation.reservationId);
    others.splice(Math.max(at, 0), 0, reservation);
    this.all = others;
    this.tell();
  }

  #change(id, news) {
    this.#changes += 1;
    this.all = this.all.map((one) => (one.reservationId === id ? { ...one, ...news } : one));
    this.tell();
  }
}

/** @param {Reservation} reservation @returns {number} milliseconds until its hold is over, by the server's clock */
export function timeLeft({ expiresAt }) {
  return Date.parse(expiresAt) - clock.now();
}

/** @param {Reservation} reservation @returns {boolean} whether its seats are its holder's */
export function isLive({ status }) {
  return status === "held" || status === "paid";
}

/** The server's wish counts where it is longer than usual. */
const pause = (wanted, usual) => new Promise((resolve) => setTimeout(resolve, Math.max(wanted, usual)));

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const reservations = new Reservations();
