/**
 * Dibs, the client library: one WebSocket to a Dibs server, kept alive.
 *
 *     import { connect } from "./dibs.js";
 *
 *     const dibs = connect("wss://shop.example/ws", () => fetchMyToken());
 *     dibs.addEventListener("order", (event) => console.log(event.detail.status));
 *     const result = await dibs.claim(42);         // {outcome: "accepted", ticket: 17, order: "…"}
 *
 * It reconnects after a random pause, resumes where it was, repeats an undecided claim with the same idempotency key,
 * and tells every outcome once. An unanswered claim stays pending: it never turns into a "no".
 *
 * Where a sale has a waiting room:
 *
 *     dibs.addEventListener("place", ({ detail }) => show(detail.state, detail.rank));
 *     await dibs.join("main");                     // in line, or admitted at once
 *     const result = await dibs.claim(42, { room: "main" });
 *
 * A place in line is kept by a connection: after each reconnect, and after a reload of the page, the library asks for it
 * again. It remembers the pass of each room until that ran out, was refused, or was left, and sends it with claims.
 *
 * Where there are seats:
 *
 *     dibs.addEventListener("seats", ({ detail }) => draw(dibs.seats(7), detail));
 *     dibs.watchSeats(7, { room: "main" });
 *     const held = await dibs.hold(7, [12, 13]);   // {reservationId, seats, expiresAt, price}; rejects if one is taken
 *     dibs.addEventListener("reservation", ({ detail }) => console.log(detail.status));
 *
 * Events are `CustomEvent`s named after the frame's `type`, with the frame as `detail` (`result`, `order`, `sale`,
 * `reservation`, …), and also
 * - `connected`     `{client, epoch, offset, recovered}`
 * - `disconnected`  `{code, reason, retryInMs}`; `retryInMs` is null when there will be no further attempt
 * - `error`         `{code, message, fatal, sale?, room?, performance?, retryInMs?}`
 * - `clock`         `{serverTime, roundTripMs}` after each pong
 * - `seats`         `{performance, whole, seats}` when seats are others than before: all of them, or those named
 * - `place`         `{room, state, …}` when the place in a room changed: what `place(room)` says; see `places.js`
 *
 * @typedef {number | string} Id
 * @typedef {import("./claims.js").Result} Result
 * @typedef {import("./dibs-options.js").Options} Options
 */
import { Claims } from "./claims.js";
import { CloseCode, mayReconnect } from "./close-codes.js";
import { DibsError } from "./dibs-error.js";
import { DEFAULTS } from "./dibs-options.js";
import { Kept, parsed, subjectOf } from "./kept.js";
import { OutcomeLog } from "./outcome-log.js";
import { PageLife } from "./page-life.js";
import { Places } from "./places.js";
import { Rooms } from "./rooms.js";
import { Seats } from "./seats.js";

/** A connection that lived this long was a good one: the next pause is short again. */
const STABLE_AFTER_MS = 10_000;
/** How long an earlier outcome may lag behind a later one before it is asked for again. */
const HOLE_PATIENCE_MS = 2_000;

export { CloseCode, DibsError, mayReconnect };

/**
 * @param {string | URL} url of the server's `/ws`
 * @param {() => (string | null | Promise<string | null>)} tokenProvider asked before each attempt; null ends it
 * @param {Options} [options]
 */
export function connect(url, tokenProvider, options) {
  const dibs = new Dibs(url, tokenProvider, options);
  dibs.open();
  return dibs;
}

export class Dibs extends EventTarget {
  #url; #tokenProvider; #options;
  /** @type {Kept} */ #kept;
  /** @type {WebSocket | null} */ #socket = null;
  #log = new OutcomeLog();
  #state = "closed";
  #attempt = 0;
  #nextId = 1;
  /** @type {Claims} */ #claims;
  /** @type {Map<string, Id>} */ #watched = new Map();
  /** @type {Rooms} */ #rooms;
  /** @type {Seats} */ #seats;
  /** Which room a sale has, where that was heard. @type {Map<string, string>} */ #roomOfSale = new Map();
  /** What was missed has been told. */ #isCaughtUp = false;
  #timers = { redial: 0, stable: 0, ping: 0, dead: 0, hole: 0 };
  #pageLife = new PageLife({
    online: () => this.#hurry(), putAside: () => this.#putAside(), takenUp: () => this.#hurry(),
  });
  #pingSentAt = 0;
  #dials = 0;
  #askedForHole = false;

  constructor(url, tokenProvider, options = {}) {
    super();
    this.#url = String(url);
    this.#tokenProvider = tokenProvider;
    this.#options = { ...DEFAULTS, ...options };
    this.#kept = new Kept(options.storage);
    const asking = {
      random: this.#options.random, answerWithinMs: this.#options.answerWithinMs,
      nextId: () => this.#nextId++,
      send: (frame) => this.#send(frame),
      failed: (about) => this.#tell("error", { ...about, fatal: false }),
    };
    this.#claims = new Claims({
      ...asking, keyFor: (sale) => this.#kept.keyFor(sale),
      passFor: (sale) => this.#passOf(this.#roomOfSale.get(String(sale))),
    });
    this.#rooms = new Rooms({ ...asking, changed: (room) => this.#placeChanged(room) });
    this.#seats = new Seats({ ...asking, passFor: (room) => this.#passOf(room) });
  }

  /** @returns {"connecting" | "connected" | "waiting" | "closed"} */
  get state() {
    return this.#state;
  }

  open() {
    if (this.#state !== "closed") return;
    this.#pageLife.follow();
    this.#dial();
  }

  /** Ends the connection for good. Claims without an answer are rejected as undecided; their keys are kept. */
  close() {
    this.#end(CloseCode.done, "closed by this client", null);
  }

  /** Reconnects at once if a pause is running, or checks that the connection still lives. */
  #hurry() {
    if (this.#state === "waiting") this.#dial();
    else if (this.#state === "connected") this.#ping();
  }

  #putAside() {
    if (this.#state === "closed") return;
    this.#clearTimers();
    this.#state = "waiting";
    this.#dropSocket();
  }

  /**
   * Claims one. Resolves with the server's decision, `accepted` or a refusal such as `sold_out`; while there is none
   * it keeps asking, over any number of connections, with the same key. Rejects with a `DibsError` only if the request
   * itself cannot be served, the connection was closed for good, or `signal` was aborted.
   *
   * @param {Id} sale
   * @param {{key?: string, token?: string, room?: string, signal?: AbortSignal}} [options] key: your own idempotency
   *   key; without one, a key is made and kept for this sale until there is a decision, also over a reload.
   *   room: the sale's waiting room, whose pass is sent; known without being said if the sale is watched.
   *   token: a pass that you got elsewhere
   * @returns {Promise<Result>}
   */
  claim(sale, { key, token, room, signal } = {}) {
    if (room) this.#roomOfSale.set(String(sale), String(room));
    return this.#unlessClosed(() => this.#claims.claim(sale, { key, token, signal }));
  }

  /** @param {Id} sale @returns {boolean} whether a claim is out, here or from before a reload, with no decision yet */
  isUndecided(sale) {
    return this.#claims.has(sale) || this.#kept.hasKey(sale);
  }

  /** Forgets the kept key of a sale: its claim is known, by other means, to have been decided. @param {Id} sale */
  settle(sale) {
    this.#kept.forgetKey(sale);
  }

  /**
   * Joins the line of a room, or asks for the place that one has. Resolves with `joined`, or `admitted` where a place was
   * free; rejects with a `DibsError` if the room does not take anybody (`rejected`) or there is none (`not_found`).
   * @param {string} room
   * @returns {Promise<object>}
   */
  join(room) {
    return this.#unlessClosed(() => this.#rooms.ask("join", String(room)));
  }

  /** Leaves the line, or gives the pass back. @param {string} room @returns {Promise<object>} the `left` frame */
  leave(room) {
    return this.#unlessClosed(() => this.#rooms.ask("leave", String(room)));
  }

  /** @param {string} room @returns {import("./places.js").Place} where this client stands */
  place(room) {
    return this.#rooms.places.of(String(room));
  }

  #unlessClosed(ask) {
    if (this.#state !== "closed") return ask();
    return Promise.reject(new DibsError("closed", "not connected", { undecided: true }));
  }

  /** Asks for `sale` events, also after every reconnect. @param {Id} sale */
  watch(sale) {
    if (this.#watched.has(String(sale))) return;
    this.#watched.set(String(sale), sale);
    if (this.#state === "connected") this.#send({ type: "watch", sale });
  }

  /** @param {Id} sale */
  unwatch(sale) {
    if (this.#watched.delete(String(sale)) && this.#state === "connected") this.#send({ type: "unwatch", sale });
  }

  /**
   * Asks for the seats of a performance, also after every reconnect: what they are says `seats(performance)`.
   * @param {Id} performance
   * @param {{room?: string}} [options] the performance's waiting room, whose pass is sent with holds
   */
  watchSeats(performance, { room } = {}) {
    this.#seats.watch(performance, room);
  }

  /** @param {Id} performance */
  unwatchSeats(performance) {
    this.#seats.unwatch(performance);
  }

  /** @param {Id} performance @returns {import("./seat-states.js").SeatStates | null} null if it is not watched */
  seats(performance) {
    return this.#seats.of(performance);
  }

  /**
   * Holds seats, all of them or none. While that is not decided it keeps asking, over any number of connections. Rejects
   * with a `DibsError`: `seat_taken` (its `seats` are not free), `duplicate`, `not_admitted`, …
   * @param {Id} performance
   * @param {number[]} seats
   * @param {string} [token] a pass that you got elsewhere; without one, that of the room which `watchSeats` was told
   * @returns {Promise<import("./seats.js").Held>}
   */
  hold(performance, seats, token) {
    return this.#unlessClosed(() => this.#seats.hold(performance, seats, token));
  }

  /** A call by REST was refused as `not_admitted` with this pass. @param {string} token */
  refusePass(token) {
    const room = this.#rooms.places.drop(token);
    if (room !== null) this.#placeChanged(room);
  }

  // Connecting

  async #dial() {
    this.#clearTimers();
    this.#state = "connecting";
    const dial = ++this.#dials;
    const isOurs = () => dial === this.#dials && this.#state === "connecting";
    let token;
    try {
      token = await this.#tokenProvider();
    } catch (cause) {
      if (isOurs()) this.#pause(0, String(cause));
      return;
    }
    if (!isOurs()) return;
    if (!token) return this.#end(CloseCode.done, "no token", new DibsError("no_token", "there is no token"));
    this.#adopt(subjectOf(token));

    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#expectAnswer(socket);
    socket.onopen = () => this.#send({ type: "connect", token, resume: this.#log.position });
    socket.onmessage = (event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = (event) => this.#lost(socket, event.code, event.reason);
  }

  /** Takes up what is kept of this subject; another subject's is not ours to resume. */
  #adopt(subject) {
    if (subject !== null && subject === this.#kept.subject) return;
    this.#kept.subject = subject;
    this.#log = new OutcomeLog(this.#kept.get("position"));
    this.#rooms.places = new Places(this.#kept.get("places"));
    for (const [room] of this.#rooms.places.saved) this.#placeChanged(room);
  }

  #lost(socket, code, reason) {
    if (socket !== this.#socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (code === CloseCode.noPong) socket.close(CloseCode.noPong);
    this.#socket = null;
    if (mayReconnect(code)) return this.#pause(code, reason);
    const fatal = code === CloseCode.done ? null : new DibsError(`close_${code}`, reason || `closed with ${code}`);
    this.#end(code, reason, fatal);
  }

  #pause(code, reason) {
    this.#clearTimers();
    this.#state = "waiting";
    if (code === CloseCode.rateLimited) this.#attempt = Math.max(this.#attempt, 3);
    const { pauseBaseMs, pauseMaxMs, random } = this.#options;
    const retryInMs = Math.round(random() * Math.min(pauseMaxMs, pauseBaseMs * 2 ** this.#attempt++));
    this.#timers.redial = setTimeout(() => this.#dial(), retryInMs);
    this.#tell("disconnected", { code, reason, retryInMs });
  }

  #end(code, reason, error) {
    if (this.#state === "closed") return;
    this.#clearTimers();
    this.#state = "closed";
    this.#pageLife.stop();
    this.#dropSocket();
    const undecided = new DibsError(error?.code ?? "closed", reason, { undecided: true });
    const rejectClaims = this.#claims.end(undecided);
    if (error) this.#tell("error", { code: error.code, message: error.message, fatal: true });
    this.#tell("disconnected", { code, reason, retryInMs: null });
    rejectClaims();
    this.#rooms.end(undecided);
    this.#seats.end(undecided);
  }

  #dropSocket() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(CloseCode.done);
  }

  #clearTimers() {
    for (const name of Object.keys(this.#timers)) clearTimeout(this.#timers[name]);
    this.#isCaughtUp = false;
    this.#claims.pause();
    this.#rooms.pause();
    this.#seats.pause();
  }

  // Frames

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #receive(text) {
    const frame = parsed(text);
    if (frame === null || typeof frame.type !== "string") return;
    this.#expectSilence();
    switch (frame.type) {
      case "connected": return this.#connected(frame);
      case "pong": return this.#pong(frame);
      case "error": return this.#failed(frame);
      case "result": return this.#decided(frame);
      case "seats": return this.#seatsChanged(frame);
      case "held": return this.#held(frame);
      case "joined": case "rank": case "admitted": case "expired": case "left": return this.#moved(frame);
      default: return this.#deliver(frame);
    }
  }

  #connected({ client, epoch, offset, recovered }) {
    this.#log.connected({ epoch, offset, recovered });
    this.#keepPosition();
    this.#state = "connected";
    this.#timers.stable = setTimeout(() => { this.#attempt = 0; }, STABLE_AFTER_MS);
    this.#expectSilence();
    this.#ping();
    for (const sale of this.#watched.values()) this.#send({ type: "watch", sale });
    this.#claims.ready();
    this.#seats.ready();
    this.#tell("connected", { client, epoch, offset, recovered });
  }

  /** The direct answer settles its claim even when its outcome was already told by a push or a replay. */
  #decided(frame) {
    const claim = this.#claims.take(frame);
    if (claim || frame.outcome === "accepted") this.settle(frame.sale);
    this.#learnOfPass(frame, claim?.sent);
    this.#deliver(frame);
    claim?.resolve(frame);
  }

  #failed({ id, code, message, seats }) {
    if (this.#rooms.fail({ id, code, message })) return;
    const asked = this.#seats.fail({ id, code, message, seats });
    if (asked?.refusedPass !== undefined) this.refusePass(asked.refusedPass);
    if (asked) return;
    if (!this.#claims.isOne(id)) return this.#tell("error", { code, message, fatal: false });
    const claim = this.#claims.fail({ id, code, message });
    if (!claim) return;
    this.settle(claim.sale);
    this.#tell("error", { code, message, fatal: false, sale: claim.sale });
    claim.reject(new DibsError(code, message));
  }

  /** The direct answer to a join counts even when its outcome was already told by a push or a replay. */
  #moved(frame) {
    const isDirect = frame.id !== undefined;
    if (isDirect || !Number.isInteger(frame.offset) || this.#log.isNew(frame.offset)) this.#rooms.hear(frame);
    this.#deliver(frame);
  }

  #deliver(frame) {
    const numbered = Number.isInteger(frame.offset);
    if (numbered && !this.#log.accept(frame.offset)) return;
    if (frame.type === "sale" && frame.room) this.#roomOfSale.set(String(frame.sale), String(frame.room));
    if (frame.type === "reservation" && numbered) this.#learnOfPayment(frame);
    this.#tell(frame.type, frame);
    if (numbered) {
      this.#keepPosition();
      this.#watchHole();
    }
  }

  /** An earlier outcome is missing: wait a moment, then resume from before it; if it is still missing, go on. */
  #watchHole() {
    clearTimeout(this.#timers.hole);
    if (!this.#log.hasHole) {
      this.#askedForHole = false;
      return;
    }
    this.#timers.hole = setTimeout(() => {
      if (this.#askedForHole) {
        this.#log.skipHole();
        this.#askedForHole = false;
        this.#keepPosition();
      } else if (this.#socket) {
        this.#askedForHole = true;
        this.#lost(this.#socket, CloseCode.noPong, "an outcome is missing");
      }
    }, HOLE_PATIENCE_MS);
  }

  // Waiting rooms

  #passOf(room) {
    return room === undefined ? undefined : this.place(room).token;
  }

  /** What a decision says of the pass: it was used, or it is no good. */
  #learnOfPass({ sale, outcome }, sent) {
    const room = this.#roomOfSale.get(String(sale));
    if (outcome === "accepted" && room !== undefined && this.#rooms.places.use(room)) this.#placeChanged(room);
    const dropped = outcome === "not_admitted" && sent !== undefined ? this.#rooms.places.drop(sent) : null;
    if (dropped !== null) this.#placeChanged(dropped);
  }

  /** A payment spends the pass of its room. What is told without a number may have been before this pass. */
  #learnOfPayment({ performance, status }) {
    const room = this.#seats.roomOf(performance);
    if (status === "paid" && room !== undefined && this.#rooms.places.use(room)) this.#placeChanged(room);
  }

  #placeChanged(room) {
    this.#kept.set("places", this.#rooms.places.saved);
    this.#tell("place", { room, ...this.place(room) });
  }

  // Seats

  #seatsChanged(frame) {
    const news = this.#seats.hear(frame);
    if (news) this.#tell("seats", { performance: frame.performance, ...news });
  }

  #held(frame) {
    this.#deliver(frame);
    this.#seats.decide(frame);
  }

  // Keeping alive

  /** Something came: the connection lives. Ask again only after some quiet. */
  #expectSilence() {
    clearTimeout(this.#timers.dead);
    clearTimeout(this.#timers.ping);
    this.#timers.ping = setTimeout(() => this.#ping(), this.#options.pingEveryMs);
  }

  /** Without any frame within that time, the connection counts as dead. */
  #expectAnswer(socket) {
    clearTimeout(this.#timers.dead);
    const giveUp = () => this.#lost(socket, CloseCode.noPong, "no answer");
    this.#timers.dead = setTimeout(giveUp, this.#options.answerWithinMs);
  }

  #ping() {
    const socket = this.#socket;
    if (!socket) return;
    this.#expectAnswer(socket);
    this.#pingSentAt = performance.now();
    this.#send({ type: "ping" });
  }

  /**
   * The server answers in order: with the first pong, everything that was missed has been told, and it is known what
   * became of the places in line. Asking for them before could put somebody in line again who was served meanwhile.
   */
  #pong({ at }) {
    if (!this.#isCaughtUp && this.#state === "connected") {
      this.#isCaughtUp = true;
      this.#rooms.ready();
    }
    const serverTime = typeof at === "number" ? at : Date.parse(at);
    if (!Number.isFinite(serverTime)) return;
    this.#tell("clock", { serverTime, roundTripMs: performance.now() - this.#pingSentAt });
  }

  #keepPosition() {
    if (this.#log.position) this.#kept.set("position", this.#log.position);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
