/** One rush: buyers are made, connect, claim at the same moment, and wait for what becomes of their orders. */
import { clock } from "../clock.js";
import { Signal } from "../signal.js";
import { session } from "../stores/session.js";
import { RestBuyer, SocketBuyer, pause } from "./buyers.js";

/** What a browser holds at once to one server, with room for the page's own connection. */
export const MOST_SOCKETS = 200;
/** Few at once: Chromium makes new WebSockets wait for seconds while many are still connecting. */
const AT_ONCE = 6;
const CONNECT_WITHIN_MS = 30_000;
const SETTLE_WITHIN_MS = 60_000;
/** An opening further away than this is not waited for. */
export const LONGEST_WAIT_MS = 10 * 60_000;

export class Rush extends Signal {
  /** @type {"preparing" | "connecting" | "waiting" | "claiming" | "settling" | "done" | "stopped" | "broken"} */
  phase = "preparing";
  /** @type {import("./buyers.js").Buyer[]} */ buyers = [];
  /** @type {{name: string, isGood: boolean, values: object}[]} */ checks = [];
  /** @type {Error | null} */ error = null;
  /** Buyers whose state changed since somebody last looked. */ changed = new Set();

  /** @param {{sale: object, count: number, withPoints: boolean, isOwnSale: boolean}} about */
  constructor({ sale, count, withPoints, isOwnSale }) {
    super();
    Object.assign(this, { sale, count, withPoints, isOwnSale });
  }

  get isOver() {
    return ["done", "stopped", "broken"].includes(this.phase);
  }

  async run() {
    try {
      await this.#prepare();
      await this.#connect();
      await this.#awaitOpening();
      await this.#claim();
      await this.#check();
    } catch (error) {
      if (this.phase === "stopped") return;
      this.error = error;
      this.#enter("broken");
    } finally {
      for (const buyer of this.buyers) buyer.close();
    }
  }

  stop() {
    if (this.isOver) return;
    this.#enter("stopped");
    for (const buyer of this.buyers) buyer.close();
  }

  #enter(phase) {
    if (this.phase === "stopped") throw new Error("stopped");
    this.phase = phase;
    this.tell();
  }

  async #prepare() {
    const name = `rush-${Date.now().toString(36)}`;
    const onChange = (buyer) => {
      this.changed.add(buyer);
      this.tell();
    };
    const places = Array.from({ length: this.count }, (_, i) => i);
    const made = [];
    await inParallel(places, async (i) => {
      const userId = `${name}-${i + 1}`;
      const { token } = await patiently(() =>
        session.adminCall("POST", "api/tokens", { body: { userId, expiresIn: 1800 } }));
      if (this.withPoints && this.sale.price > 0) {
        const body = { userId, point: this.sale.price };
        await patiently(() => session.adminCall("PATCH", "api/users/point", { body }));
      }
      const Kind = i < MOST_SOCKETS ? SocketBuyer : RestBuyer;
      made[i] = new Kind({ userId, token }, onChange);
    }, () => this.phase === "stopped");
    this.buyers = made;
    this.tell();
  }

  async #connect() {
    this.#enter("connecting");
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const all = inParallel(this.buyers, (buyer) => buyer.connect(url), () => this.phase === "stopped");
    await Promise.race([all, pause(CONNECT_WITHIN_MS)]);
  }

  async #awaitOpening() {
    this.#enter("waiting");
    const wait = () => Date.parse(this.sale.opensAt) - clock.now() + clock.uncertainty;
    if (this.sale.status !== "scheduled") return;
    while (wait() > 0 && this.phase === "waiting") await pause(Math.min(wait(), 250));
  }

  async #claim() {
    this.#enter("claiming");
    const until = performance.now() + SETTLE_WITHIN_MS;
    for (const buyer of this.buyers) buyer.claim(this.sale.id);
    await this.#until(() => this.buyers.every((buyer) => buyer.isAnswered), until);
    this.#enter("settling");
    await this.#until(() => this.buyers.every((buyer) => buyer.isSettled), until);
  }

  /** Resolves when the condition holds, the time is over, or the rush was stopped. */
  #until(holds, deadline) {
    return new Promise((resolve) => {
      const finish = () => {
        stop();
        clearTimeout(timer);
        resolve();
      };
      const stop = this.listen(() => (holds() || this.phase === "stopped") && finish());
      const timer = setTimeout(finish, deadline - performance.now());
      if (holds()) finish();
    });
  }

  async #check() {
    const { buyers, sale } = this;
    const holders = buyers.filter((buyer) => buyer.state === "confirmed" || buyer.state === "accepted");
    const tickets = holders.map((buyer) => buyer.ticket);
    const unanswered = buyers.filter((buyer) => !buyer.isAnswered).length;
    const open = buyers.filter((buyer) => buyer.state === "accepted").length;
    const twice = buyers.filter((buyer) => buyer.orders.size > 1).length;
    const outside = tickets.filter((ticket) => !(ticket >= 1 && ticket <= sale.quantity)).length;
    this.checks = [
      { name: "unanswered", isGood: unanswered === 0, values: { n: unanswered } },
      { name: "settled", isGood: open === 0, values: { n: open } },
      { name: "twice", isGood: twice === 0 && new Set(tickets).size === tickets.length, values: { n: twice } },
      { name: "oversold", isGood: holders.length <= sale.quantity && outside === 0,
        values: { n: holders.length, quantity: sale.quantity } },
    ];
    await this.#audit(holders.length);
    this.#enter("done");
  }

  /** What the server's own audit says; `sold` is comparable only where nobody else buys. */
  async #audit(held) {
    const { sales } = await patiently(() => session.adminCall("GET", "api/audit"));
    const line = sales.find(({ sale }) => String(sale) === String(this.sale.id));
    const agrees = line?.drift === 0 && (!this.isOwnSale || line.sold === held);
    this.checks.push({ name: "audit", isGood: agrees, values: { n: line?.sold ?? 0, drift: line?.drift ?? 0 } });
  }
}

/** @param {number[]} sorted @param {number} share 0…1 @returns {number | null} */
export function percentile(sorted, share) {
  if (sorted.length === 0) return null;
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
}

/** Runs one job per item, some at a time. */
async function inParallel(items, job, isStopped) {
  const rest = items[Symbol.iterator]();
  const worker = async () => {
    for (const item of rest) {
      if (isStopped()) throw new Error("stopped");
      await job(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
}

/** Asks again while the server says "not now". */
async function patiently(ask, tries = 20) {
  for (let left = tries; ; left -= 1) {
    try {
      return await ask();
    } catch (error) {
      if (!error.isUndecided || left <= 1) throw error;
      await pause(error.retryAfterMs * (0.5 + Math.random()));
    }
  }
}
