/**
 * What is known of the seats of one performance: told whole once after each connect, then by changes.
 *
 * A change says what a seat is now, not what became of it, so hearing one twice does no harm; but an older one must not
 * undo a newer. Each frame has a sequence number: what is not newer than what is known is left alone. A whole answer is
 * the truth at its time, whatever its number: after a rebuild the server may count anew.
 *
 * Pure: no socket, no clock, no storage.
 *
 * @typedef {"free" | "held" | "sold"} SeatStatus
 * @typedef {{whole: boolean, seats: number[]}} News whole: everything may be another; else the seats that changed
 */

/** One letter a seat, as in the compact form. */
const LETTERS = { free: "f", held: "h", sold: "s" };
const STATUSES = { f: "free", h: "held", s: "sold" };

export class SeatStates {
  /** Character codes, the seat 1 first. @type {Uint8Array | null} */ #letters = null;
  #seq = -1;
  /** How many are free, held and sold: null before anything was told. @type {number | null} */ remaining = null;
  /** @type {number | null} */ held = null;
  /** @type {number | null} */ sold = null;

  /** @returns {boolean} whether the seats are known, if not in this very moment */
  get isKnown() {
    return this.#letters !== null;
  }

  /** @returns {number} 0 while nothing is known */
  get count() {
    return this.#letters?.length ?? 0;
  }

  /** @param {number} seat from 1 @returns {SeatStatus | null} null for what is not known */
  of(seat) {
    const letter = this.#letters?.[seat - 1];
    return letter === undefined ? null : STATUSES[String.fromCharCode(letter)] ?? null;
  }

  /**
   * @param {object} frame `seats`
   * @returns {News | null} null if it says nothing new
   */
  hear(frame) {
    const whole = wholeOf(frame);
    if (whole) this.#letters = whole;
    else if (!this.#letters || frame.seq <= this.#seq) return null;
    this.#seq = frame.seq;
    this.remaining = frame.remaining ?? this.remaining;
    this.held = frame.held ?? this.held;
    this.sold = frame.sold ?? this.sold;
    if (whole) return { whole: true, seats: [] };
    const seats = [];
    for (const { seatId, status } of frame.changes ?? []) {
      if (!(seatId >= 1 && seatId <= this.count) || this.of(seatId) === status || !(status in LETTERS)) continue;
      this.#letters[seatId - 1] = LETTERS[status].charCodeAt(0);
      seats.push(seatId);
    }
    return { whole: false, seats };
  }
}

/** Every seat, where the frame tells of every seat: in the compact form, or as the answer to a watch in the long one. */
function wholeOf({ letters, id, changes = [] }) {
  if (typeof letters === "string") return bytesOf(letters);
  return id === undefined ? null : bytesOfChanges(changes);
}

function bytesOf(letters) {
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = letters.charCodeAt(at);
  return bytes;
}

/** The long form of the first answer: every seat as a change. */
function bytesOfChanges(changes) {
  const last = changes.reduce((most, { seatId }) => Math.max(most, seatId), 0);
  const bytes = new Uint8Array(last);
  for (const { seatId, status } of changes) bytes[seatId - 1] = LETTERS[status]?.charCodeAt(0) ?? 0;
  return bytes;
}
