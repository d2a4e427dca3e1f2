/**
 * Simulated buyers. Both kinds claim once, and tell every change of their `state`:
 *
 *     preparing → ready → asking → accepted → confirmed | failed | cancelled
 *                               → a refusal's code (sold_out, duplicate, not_open, …)
 *
 * A browser holds some two hundred WebSockets to one server and no more; buyers beyond that speak REST.
 */
import { connect } from "../../dibs.js";
import { call, path } from "../rest.js";

const POLL_MS = 1_000;

class Buyer {
  state = "preparing";
  /** @type {number | null} */ ticket = null;
  /** @type {number | null} */ askedAt = null;
  /** @type {number | null} */ decidedAt = null;
  /** @type {number | null} */ settledAt = null;
  /** How many accepted answers with different orders it got: more than one would be wrong. */ orders = new Set();

  /** @param {{userId: string, token: string}} account @param {(buyer: Buyer) => void} changed */
  constructor({ userId, token }, changed) {
    this.userId = userId;
    this.token = token;
    this.changed = changed;
  }

  become(state) {
    this.state = state;
    this.changed(this);
  }

  asks() {
    this.askedAt = performance.now();
    this.become("asking");
  }

  /** @param {{outcome: string, ticket?: number, order?: string | number}} result */
  decided({ outcome, ticket, order }) {
    if (outcome === "accepted" && order !== undefined) this.orders.add(String(order));
    if (this.decidedAt !== null) return;
    this.decidedAt = performance.now();
    this.ticket = ticket ?? null;
    if (this.settledAt === null) this.become(outcome);
  }

  settled(status) {
    this.settledAt ??= performance.now();
    this.become(status);
  }

  get isAnswered() {
    return this.decidedAt !== null;
  }

  get isSettled() {
    return this.isAnswered && this.state !== "accepted";
  }

  close() {}
}

export class SocketBuyer extends Buyer {
  #dibs = null;

  /** @param {URL} url @returns {Promise<void>} when connected */
  connect(url) {
    return new Promise((resolve) => {
      this.#dibs = connect(url, () => this.token, { storage: null });
      this.#dibs.addEventListener("connected", () => {
        if (this.state === "preparing") this.become("ready");
        resolve();
      });
      this.#dibs.addEventListener("result", ({ detail }) => detail.outcome === "accepted" && this.decided(detail));
      this.#dibs.addEventListener("order", ({ detail }) => this.settled(detail.status));
      this.#dibs.addEventListener("disconnected", ({ detail }) => detail.retryInMs === null && resolve());
    });
  }

  async claim(sale) {
    this.asks();
    try {
      this.decided(await this.#dibs.claim(sale));
    } catch (error) {
      if (!error.undecided) this.decided({ outcome: error.code });
    }
  }

  close() {
    this.#dibs?.close();
  }
}

export class RestBuyer extends Buyer {
  #stopped = new AbortController();

  async connect() {
    this.become("ready");
  }

  async claim(sale) {
    this.asks();
    const headers = { "idempotency-key": `${this.userId}-1` };
    const body = { userId: this.userId };
    const answer = await this.#untilDecided(() =>
      call("POST", path`api/sales/${sale}/claims`, { token: this.token, headers, body, signal: this.#stopped.signal }));
    if (!answer) return;
    this.decided(answer instanceof Error ? { outcome: answer.code } : { ...answer, outcome: "accepted" });
    if (this.state === "accepted") await this.#follow(sale);
  }

  /** REST is not told: it asks what became of the order. */
  async #follow(sale) {
    const options = { token: this.token, signal: this.#stopped.signal };
    while (this.state === "accepted" && !this.#stopped.signal.aborted) {
      const truth = await this.#untilDecided(() =>
        call("GET", path`api/sales/${sale}/claims/${this.userId}`, options));
      if (!truth || truth instanceof Error) return;
      if (truth.status !== "accepted") return this.settled(truth.status);
      await pause(POLL_MS);
    }
  }

  /** @returns {Promise<any>} the result, or the refusal as an error; null when stopped */
  async #untilDecided(ask) {
    while (!this.#stopped.signal.aborted) {
      try {
        return await ask();
      } catch (error) {
        if (this.#stopped.signal.aborted) return null;
        if (!error.isUndecided) return error;
        await pause(error.retryAfterMs * (0.5 + Math.random()));
      }
    }
    return null;
  }

  close() {
    this.#stopped.abort();
  }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
