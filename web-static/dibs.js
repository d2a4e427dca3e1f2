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
 * Events are `CustomEvent`s named after the frame's `type`, with the frame as `detail` (`result`, `order`, `sale`, …),
 * and also
 * - `connected`     `{client, epoch, offset, recovered}`
 * - `disconnected`  `{code, reason, retryInMs}`; `retryInMs` is null when there will be no further attempt
 * - `error`         `{code, message, fatal, sale?, retryInMs?}`
 * - `clock`         `{serverTime, roundTripMs}` after each pong
 *
 * @typedef {number | string} Id
 * @typedef {{type: "result", sale: Id, outcome: string, ticket?: number, order?: Id, remaining?: number}} Result
 * @typedef {{getItem(key: string): string | null, setItem(key: string, value: string): void,
 *            removeItem(key: string): void}} KeyValueStore
 * @typedef {object} Options
 * @property {KeyValueStore | null} [storage] where the position and undecided keys are kept over a reload:
 *   `sessionStorage` (the default; one position per tab), `localStorage`, or null for memory only
 * @property {number} [pauseBaseMs] upper bound of the first random pause before reconnecting, doubled each time
 * @property {number} [pauseMaxMs]
 * @property {number} [pingEveryMs] silence after which a ping is sent
 * @property {number} [answerWithinMs] silence after a frame that wants an answer until the connection counts as dead
 * @property {number} [random] for tests: `() => number` in 0..<1
 */
import { OutcomeLog } from "./outcome-log.js";

const DEFAULTS = {
  pauseBaseMs: 500, pauseMaxMs: 20_000, pingEveryMs: 15_000, answerWithinMs: 10_000, random: Math.random,
};
/** A connection that lived this long was a good one: the next pause is short again. */
const STABLE_AFTER_MS = 10_000;
/** How long an earlier outcome may lag behind a later one before it is asked for again. */
const HOLE_PATIENCE_MS = 2_000;
/** Errors that say "not decided", so the same claim is asked again. */
const UNDECIDED = new Set(["unavailable", "rate_limited"]);

export const CloseCode = { done: 1000, tooBig: 1009, noPong: 4012, rateLimited: 4029 };

export class DibsError extends Error {
  /**
   * @param {string} code
   * @param {string} [message]
   * @param {{undecided?: boolean}} [about] undecided: nothing is known about what was asked; it may have happened
   */
  constructor(code, message = code, { undecided = false } = {}) {
    super(message);
    this.name = "DibsError";
    this.code = code;
    this.undecided = undecided;
  }
}

/** @param {number} code @returns {boolean} whether the contract lets a client come back after this close code */
export function mayReconnect(code) {
  if (code === CloseCode.done || code === CloseCode.tooBig) return false;
  return code < 4500 || code > 4999;
}

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
  #url; #tokenProvider; #options; #storage;
  /** @type {WebSocket | null} */ #socket = null;
  #log = new OutcomeLog();
  /** @type {string | null} the `sub` of the token: what is stored is stored under it */ #subject = null;
  #state = "closed";
  #attempt = 0;
  #nextId = 1;
  /** @type {Map<number, PendingClaim>} */ #claims = new Map();
  /** @type {Map<string, Id>} */ #watched = new Map();
  #timers = { redial: 0, stable: 0, ping: 0, dead: 0, hole: 0 };
  #pingSentAt = 0;
  #dials = 0;
  #askedForHole = false;

  constructor(url, tokenProvider, options = {}) {
    super();
    this.#url = String(url);
    this.#tokenProvider = tokenProvider;
    this.#options = { ...DEFAULTS, ...options };
    this.#storage = options.storage === undefined ? tabStorage() : options.storage;
  }

  /** @returns {"connecting" | "connected" | "waiting" | "closed"} */
  get state() {
    return this.#state;
  }

  open() {
    if (this.#state !== "closed") return;
    globalThis.addEventListener?.("online", this.#hurry);
    this.#dial();
  }

  /** Ends the connection for good. Claims without an answer are rejected as undecided; their keys are kept. */
  close() {
    this.#end(CloseCode.done, "closed by this client", null);
  }

  /** Reconnects at once if a pause is running, or checks that the connection still lives. */
  #hurry = () => {
    if (this.#state === "waiting") this.#dial();
    else if (this.#state === "connected") this.#ping();
  };

  /**
   * Claims one. Resolves with the server's decision, `accepted` or a refusal such as `sold_out`; while there is none
   * it keeps asking, over any number of connections, with the same key. Rejects with a `DibsError` only if the request
   * itself cannot be served, the connection was closed for good, or `signal` was aborted.
   *
   * @param {Id} sale
   * @param {{key?: string, signal?: AbortSignal}} [options] key: your own idempotency key; without one, a key is made
   *   and kept for this sale until there is a decision, also over a reload
   * @returns {Promise<Result>}
   */
  claim(sale, { key, signal } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#state === "closed") return reject(new DibsError("closed", "not connected", { undecided: true }));
      const claim = { id: this.#nextId++, sale, key, resolve, reject, tries: 0, timer: 0 };
      this.#claims.set(claim.id, claim);
      signal?.addEventListener("abort", () => {
        if (this.#forget(claim)) reject(new DibsError("aborted", "aborted", { undecided: true }));
      });
      if (this.#state === "connected") this.#ask(claim);
    });
  }

  /** @param {Id} sale @returns {boolean} whether a claim is out, here or from before a reload, with no decision yet */
  isUndecided(sale) {
    for (const claim of this.#claims.values()) if (String(claim.sale) === String(sale)) return true;
    return this.#storage !== null && this.#subject !== null && this.#storage.getItem(this.#keyName(sale)) !== null;
  }

  /** Forgets the kept key of a sale: its claim is known, by other means, to have been decided. @param {Id} sale */
  settle(sale) {
    if (this.#subject !== null) this.#storage?.removeItem(this.#keyName(sale));
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

  /** Takes up the stored position of this subject; another subject's is not ours to resume. */
  #adopt(subject) {
    if (subject !== null && subject === this.#subject) return;
    this.#subject = subject;
    const saved = subject === null ? null : this.#storage?.getItem(`dibs:position:${subject}`);
    this.#log = new OutcomeLog(parsed(saved));
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
    globalThis.removeEventListener?.("online", this.#hurry);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(CloseCode.done);
    }
    const claims = [...this.#claims.values()];
    for (const claim of claims) this.#forget(claim);
    if (error) this.#tell("error", { code: error.code, message: error.message, fatal: true });
    this.#tell("disconnected", { code, reason, retryInMs: null });
    for (const claim of claims) claim.reject(new DibsError(error?.code ?? "closed", reason, { undecided: true }));
  }

  #clearTimers() {
    for (const name of Object.keys(this.#timers)) clearTimeout(this.#timers[name]);
    for (const claim of this.#claims.values()) clearTimeout(claim.timer);
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
    for (const claim of this.#claims.values()) this.#ask(claim);
    this.#tell("connected", { client, epoch, offset, recovered });
  }

  /** The direct answer settles its claim even when its outcome was already told by a push or a replay. */
  #decided(frame) {
    const claim = this.#claims.get(frame.id);
    if (claim) this.#forget(claim);
    if (claim || frame.outcome === "accepted") this.settle(frame.sale);
    this.#deliver(frame);
    claim?.resolve(frame);
  }

  #failed({ id, code, message }) {
    const claim = this.#claims.get(id);
    if (!claim) return this.#tell("error", { code, message, fatal: false });
    if (UNDECIDED.has(code)) {
      const pause = Math.min(5_000, 400 * 2 ** claim.tries);
      const retryInMs = Math.round(pause * (0.5 + this.#options.random() / 2));
      clearTimeout(claim.timer);
      claim.timer = setTimeout(() => this.#ask(claim), retryInMs);
      return this.#tell("error", { code, message, fatal: false, sale: claim.sale, retryInMs });
    }
    this.#forget(claim);
    this.settle(claim.sale);
    this.#tell("error", { code, message, fatal: false, sale: claim.sale });
    claim.reject(new DibsError(code, message));
  }

  #deliver(frame) {
    const numbered = Number.isInteger(frame.offset);
    if (numbered && !this.#log.accept(frame.offset)) return;
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

  // Claims

  #ask(claim) {
    if (this.#state !== "connected" || !this.#claims.has(claim.id)) return;
    clearTimeout(claim.timer);
    claim.tries += 1;
    claim.key ??= this.#keptKey(claim.sale);
    claim.timer = setTimeout(() => this.#ask(claim), this.#options.answerWithinMs * 2);
    this.#send({ type: "claim", id: claim.id, sale: claim.sale, key: claim.key });
  }

  #forget(claim) {
    clearTimeout(claim.timer);
    return this.#claims.delete(claim.id);
  }

  #keyName(sale) {
    return `dibs:key:${this.#subject}:${sale}`;
  }

  #keptKey(sale) {
    if (this.#subject === null || this.#storage === null) return newKey();
    const kept = this.#storage.getItem(this.#keyName(sale));
    if (kept) return kept;
    const key = newKey();
    this.#storage.setItem(this.#keyName(sale), key);
    return key;
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

  #pong({ at }) {
    const serverTime = typeof at === "number" ? at : Date.parse(at);
    if (!Number.isFinite(serverTime)) return;
    this.#tell("clock", { serverTime, roundTripMs: performance.now() - this.#pingSentAt });
  }

  #keepPosition() {
    const position = this.#log.position;
    if (this.#subject === null || !position) return;
    this.#storage?.setItem(`dibs:position:${this.#subject}`, JSON.stringify(position));
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * @typedef {{id: number, sale: Id, key?: string, tries: number, timer: any,
 *            resolve: (result: Result) => void, reject: (error: DibsError) => void}} PendingClaim
 */

/** `crypto.randomUUID` exists only in secure contexts; a shop on plain http in a local network has none. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Reading the property throws where the browser keeps no data for this site. */
function tabStorage() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} token
 * @returns {string | null} the `sub` of a JWT; not verified, as it is only a name to store things under
 */
function subjectOf(token) {
  const payload = token.split(".")[1];
  if (!payload) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return sub === undefined ? null : String(sub);
  } catch {
    return null;
  }
}
