/**
 * Where this client stands in each waiting room, told from what was asked and what the server said.
 *
 *     out ──ask──▸ joining ──joined──▸ waiting ──admitted──▸ admitted ──expired, refused──▸ out
 *                  (admitted at once, where a place is free)      any ──leave──▸ leaving ──left──▸ out
 *
 * Frames can come in an order that a naive reader falls for:
 *
 * - `rank` is computed for whoever waits, `admitted` comes by the client's own log: the last rank may arrive after the
 *   pass. So a rank never takes a pass away.
 * - Where an outcome was missing and is sent again, `expired` may come before its `admitted`. So a pass that is known to
 *   be over doesn't come back.
 *
 * Pure: no socket, no clock, no storage.
 *
 * @typedef {object} Place
 * @property {"out" | "joining" | "waiting" | "admitted" | "leaving"} state
 * @property {number} [rank] from 1; the newest that was heard
 * @property {number} [waiting] how many wait in that room
 * @property {number | null} [estimatedSeconds] null while nobody can tell
 * @property {boolean} [isReachable] false: there is less left than clients before this one
 * @property {boolean} [isProvisional] true: lots will be drawn for the order; this rank is not the last word
 * @property {boolean} [isAnew] true: a place that was had before was given up, and this is another, further back
 * @property {string} [token] the pass
 * @property {string} [expiresAt] when the pass runs out
 * @property {boolean} [isUsed] something was bought with it: it may be spent
 * @property {string} [reason] for `out`: `expired`, `left`, `closed`, `timeout`, or the code of a refusal
 */

/** @type {Place} */
const OUT = Object.freeze({ state: "out" });

export class Places {
  /** @type {Map<string, Place>} */ #places;
  /** The pass of each room that was the last to end. @type {Map<string, string>} */ #over = new Map();

  /** @param {[string, Place][] | null} [saved] */
  constructor(saved = null) {
    this.#places = new Map(saved ?? []);
  }

  /** @param {string} room @returns {Place} */
  of(room) {
    return this.#places.get(room) ?? OUT;
  }

  /** What to keep over a reload. @returns {[string, Place][]} */
  get saved() {
    return [...this.#places].filter(([, { state }]) => state !== "out");
  }

  /**
   * Rooms to ask for again on a new connection: a place is kept by a connection. Whoever has bought something with a
   * pass would stand in line once more if the pass was spent with it.
   */
  get kept() {
    const isKept = ({ state, isUsed }) => state === "joining" || state === "waiting" || (state === "admitted" && !isUsed);
    return [...this.#places].filter(([, place]) => isKept(place)).map(([room]) => room);
  }

  /** Rooms to leave, where nothing said yet that it is done. */
  get leaving() {
    return [...this.#places].filter(([, { state }]) => state === "leaving").map(([room]) => room);
  }

  /** @param {string} room */
  ask(room) {
    const { state } = this.of(room);
    if (state === "out" || state === "leaving") this.#places.set(room, { state: "joining" });
  }

  /** @param {string} room */
  leave(room) {
    this.#end(room);
    this.#places.set(room, { state: "leaving" });
  }

  /** A join that was answered with an error. @param {string} room @param {string} code */
  refuse(room, code) {
    this.#places.set(room, { state: "out", reason: code });
  }

  /** Something was bought with this room's pass. @param {string} room @returns {boolean} whether there was one */
  use(room) {
    const place = this.of(room);
    if (place.state !== "admitted") return false;
    this.#places.set(room, { ...place, isUsed: true });
    return true;
  }

  /** The server no longer takes this pass. @param {string} token @returns {string | null} the room it was for */
  drop(token) {
    for (const [room, place] of this.#places) {
      if (place.token !== token) continue;
      this.#end(room);
      this.#places.set(room, { state: "out", reason: place.isUsed ? "spent" : "not_admitted" });
      return room;
    }
    return null;
  }

  /**
   * @param {{type: string, room: string, [field: string]: any}} frame
   * @returns {boolean} whether the place is another one now
   */
  hear(frame) {
    const room = String(frame.room);
    const next = this.#next(room, this.of(room), frame);
    if (!next) return false;
    this.#places.set(room, next);
    return true;
  }

  /** @returns {Place | null} */
  #next(room, place, frame) {
    switch (frame.type) {
      case "joined":
        return place.state === "leaving" ? null : waiting(frame, place.isAnew || isBehind(frame, place));
      case "rank":
        return place.state === "waiting" || place.state === "joining" ? waiting(frame, place.isAnew) : null;
      case "admitted":
        if (place.state === "leaving" || frame.token === this.#over.get(room)) return null;
        if (frame.token === place.token) return { ...place, expiresAt: frame.expiresAt };
        return { state: "admitted", token: frame.token, expiresAt: frame.expiresAt };
      case "expired":
        if (frame.token !== undefined) this.#over.set(room, frame.token);
        if (place.state !== "admitted" || (frame.token ?? place.token) !== place.token) return null;
        return { state: "out", reason: "expired" };
      case "left":
        // The answer to a leave that was thought better of: `joined` is on its way.
        if (place.state === "joining" && frame.id !== undefined) return null;
        this.#end(room);
        return { state: "out", reason: frame.reason ?? "left" };
      default:
        return null;
    }
  }

  #end(room) {
    const { token } = this.of(room);
    if (token !== undefined) this.#over.set(room, token);
  }
}

/** @returns {Place} */
function waiting({ rank, waiting, estimatedSeconds = null, reachable = true, provisional = false }, isAnew = false) {
  return { state: "waiting", rank, waiting, estimatedSeconds, isReachable: reachable, isProvisional: provisional, isAnew };
}

/** A place only ever moves to the front, but for a draw. Asking for it and getting one behind it: it was lost. */
function isBehind(joined, { state, rank, isProvisional }) {
  return state === "waiting" && !isProvisional && joined.rank > rank;
}
