/**
 * The signed-in buyer's claims: what was asked, what was answered, and what became of it.
 *
 * @typedef {"accepted" | "confirmed" | "failed" | "cancelled"} OrderStatus
 * @typedef {object} Order
 * @property {string} order its id
 * @property {number | null} ticket
 * @property {OrderStatus} status
 * @property {string | null} reason
 * @property {Partial<Record<"asked" | OrderStatus, number>>} times by `performance.now()`, of what was seen here
 *
 * @typedef {object} Claim what is known for one sale
 * @property {Order[]} orders oldest first
 * @property {boolean} isLoaded the server was asked what it knows: without that, no orders does not mean none
 * @property {boolean} isAsking a claim is out and not decided
 * @property {string | null} obstacle why it is not decided yet: a code such as `unavailable`
 * @property {{outcome: string} | null} refusal the newest answer, if it was a refusal
 * @property {number | null} askedAt when the newest claim was made here; null once it has its order
 */
import { path } from "../rest.js";
import { Signal } from "../signal.js";
import { live } from "./live.js";
import { sales } from "./sales.js";
import { session } from "./session.js";

class Claims extends Signal {
  /** @type {Map<string, Claim>} */ #bySale = new Map();
  #userId = null;
  /** Counts what was heard of each order, so that an older REST answer never undoes it. */ #heard = new Map();

  constructor() {
    super();
    session.listen(() => this.#follow());
    this.#follow();
    live.frames.addEventListener("result", ({ detail }) => this.#result(detail));
    live.frames.addEventListener("order", ({ detail }) => this.#order(detail));
    live.frames.addEventListener("error", ({ detail }) => this.#obstacle(detail));
    live.frames.addEventListener("connected", () => this.#askAgain());
  }

  /** @returns {Claim} */
  of(sale) {
    const key = String(sale);
    if (!this.#bySale.has(key)) this.#bySale.set(key, empty());
    return this.#bySale.get(key);
  }

  #follow() {
    const userId = session.user?.userId ?? null;
    if (userId === this.#userId) return;
    this.#userId = userId;
    this.#bySale.clear();
    this.#heard.clear();
    this.tell();
  }

  /** What the server knows of this buyer's claims on a sale, and a claim left undecided by a reload. */
  async load(sale) {
    const userId = this.#userId;
    if (userId === null) return;
    const before = new Map(this.#heard);
    const isNews = (order) => this.#userId === userId && this.#heard.get(String(order)) === before.get(String(order));
    const truth = await session.call("GET", path`api/sales/${sale}/claims/${userId}`);
    const known = new Set(rememberedOrders(userId, sale));
    if (truth.status !== "none") {
      if (isNews(truth.order)) this.#record(sale, truth);
      known.delete(String(truth.order));
    }
    for (const id of known) {
      const order = await session.call("GET", path`api/orders/${id}`);
      if (isNews(id)) this.#record(sale, { ...order, order: id });
    }
    if (this.#userId !== userId) return;
    this.of(sale).isLoaded = true;
    this.#askAgain(sale);
    this.tell();
  }

  /** Claims one. Never rejects: what is not decided shows as `isAsking` with an `obstacle`. */
  async ask(sale) {
    const claim = this.of(sale);
    if (claim.isAsking || !live.dibs) return;
    live.reconnect();
    Object.assign(claim, { isAsking: true, obstacle: null, refusal: null, askedAt: performance.now() });
    this.tell();
    try {
      const result = await live.dibs.claim(sale, { room: sales.get(sale)?.room ?? undefined });
      if (result.outcome === "accepted") this.#result(result);
      else claim.refusal = result;
      if (result.outcome === "duplicate") this.load(sale).catch(() => {});
      claim.isAsking = false;
      claim.obstacle = null;
    } catch (error) {
      claim.isAsking = false;
      if (error.undecided) claim.obstacle = error.code;
      else claim.refusal = { outcome: error.code };
    }
    this.tell();
  }

  /** The buyer goes on to something else, as joining the line. */
  forgetRefusal(sale) {
    this.of(sale).refusal = null;
    this.tell();
  }

  /** Gives a ticket back. @param {Order} order */
  async cancel(sale, order) {
    const answer = await session.call("DELETE", path`api/orders/${order.order}`);
    this.#record(sale, { ...answer, order: order.order, status: answer?.status ?? "cancelled" });
    this.tell();
  }

  /** After a reload: a claim that was out when the page went away is asked again, with its key. */
  #askAgain(sale) {
    if (live.state !== "connected") return;
    for (const id of sale === undefined ? this.#bySale.keys() : [sale]) {
      if (!this.of(id).isAsking && live.dibs.isUndecided(id)) this.ask(id);
    }
  }

  #result({ sale, outcome, ticket, order }) {
    if (outcome !== "accepted") return;
    const claim = this.of(sale);
    claim.refusal = null;
    this.#hear(order);
    const known = claim.orders.find((one) => one.order === String(order));
    this.#record(sale, { order, ticket, status: known?.status ?? "accepted", reason: known?.reason });
    this.tell();
  }

  #order({ sale, order, status, reason, ticket }) {
    this.#hear(order);
    this.#record(sale, { order, ticket, status, reason });
    this.tell();
  }

  #obstacle({ sale, code, fatal }) {
    for (const [id, claim] of this.#bySale) {
      if (claim.isAsking && (fatal || String(sale) === id)) claim.obstacle = code;
    }
    this.tell();
  }

  #hear(order) {
    this.#heard.set(String(order), (this.#heard.get(String(order)) ?? 0) + 1);
  }

  #record(sale, { order, ticket, status, reason }) {
    const claim = this.of(sale);
    let known = claim.orders.find((one) => one.order === String(order));
    if (!known) {
      known = { order: String(order), ticket: null, status, reason: null, times: {} };
      if (claim.askedAt) known.times.asked = claim.askedAt;
      claim.askedAt = null;
      claim.orders.push(known);
      rememberOrder(this.#userId, sale, order);
    }
    known.ticket = ticket ?? known.ticket;
    known.reason = reason ?? null;
    known.status = status;
    if (known.times.asked) known.times[status] ??= performance.now();
  }
}

/** @returns {Claim} */
const empty = () => ({ orders: [], isLoaded: false, isAsking: false, obstacle: null, refusal: null, askedAt: null });

/**
 * `GET …/claims/{userId}` tells of one order. Where a buyer may have several, the ids of those seen here let a reload
 * show them all again; what they are is asked of the server.
 */
function rememberedOrders(userId, sale) {
  try {
    return JSON.parse(localStorage.getItem(`dibs:orders:${userId}:${sale}`)) ?? [];
  } catch {
    return [];
  }
}

function rememberOrder(userId, sale, order) {
  const ids = new Set(rememberedOrders(userId, sale)).add(String(order));
  localStorage.setItem(`dibs:orders:${userId}:${sale}`, JSON.stringify([...ids]));
}

export const claims = new Claims();
