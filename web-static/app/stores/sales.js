/**
 * The sales, as last heard: by `sale` frames where there is a connection, by asking again now and then where not.
 *
 * @typedef {object} Sale
 * @property {string | number} id
 * @property {string} name
 * @property {number} quantity
 * @property {number} remaining
 * @property {"scheduled" | "open" | "sold_out" | "closed" | "cancelled"} status
 * @property {string} opensAt
 * @property {string} closesAt
 * @property {number} price
 * @property {number} perClientLimit
 */
import { clock } from "../clock.js";
import { call, path } from "../rest.js";
import { Signal } from "../signal.js";
import { live } from "./live.js";

const POLL_MS = 2_000;
/** With a connection, asking is only a safety net. */
const POLL_CONNECTED_MS = 20_000;

class Sales extends Signal {
  /** @type {Map<string, Sale>} */ #known = new Map();

  constructor() {
    super();
    live.frames.addEventListener("sale", ({ detail: { type, sale, offset, ...news } }) => {
      const known = this.#known.get(String(sale));
      if (!known) return;
      this.#known.set(String(sale), { ...known, ...news, id: known.id });
      this.tell();
    });
  }

  /** @returns {Sale | undefined} */
  get(id) {
    return this.#known.get(String(id));
  }

  get all() {
    return [...this.#known.values()];
  }

  /** @param {Sale} sale */
  learn(sale) {
    this.#known.set(String(sale.id), sale);
    this.tell();
  }

  async loadAll() {
    const sales = await call("GET", "api/sales");
    this.#known = new Map(sales.map((sale) => [String(sale.id), sale]));
    this.tell();
  }

  async load(id) {
    this.learn(await call("GET", path`api/sales/${id}`));
  }

  /**
   * Keeps sales up to date while somebody looks: all of them, or the one with this id.
   * @param {string | number | null} id
   * @param {(error: Error | null) => void} heard after each answer
   * @returns {() => void} stops it
   */
  follow(id, heard) {
    let timer = 0;
    let stopped = false;
    const watched = new Set();
    const watch = () => {
      if (!live.dibs) return;
      for (const sale of id === null ? this.all : [this.get(id)]) {
        if (!sale || sale.status === "closed" || sale.status === "cancelled") continue;
        watched.add(sale.id);
        live.dibs.watch(sale.id);
      }
    };
    const ask = async () => {
      clearTimeout(timer);
      let error = null;
      try {
        if (!document.hidden) await (id === null ? this.loadAll() : this.load(id));
      } catch (caught) {
        error = caught;
      }
      if (stopped) return;
      watch();
      heard(error);
      const pause = error?.retryAfterMs ?? (live.state === "connected" ? POLL_CONNECTED_MS : POLL_MS);
      timer = setTimeout(ask, pause * (0.75 + Math.random() / 2));
    };
    const stopListening = live.listen(ask);
    document.addEventListener("visibilitychange", ask);
    ask();
    return () => {
      stopped = true;
      clearTimeout(timer);
      stopListening();
      document.removeEventListener("visibilitychange", ask);
      for (const sale of watched) live.dibs?.unwatch(sale);
    };
  }
}

/** @param {Sale} sale @returns {Sale["status"]} its status by the server's clock now, ahead of the next frame */
export function statusNow(sale) {
  const now = clock.now();
  if (sale.status === "scheduled" && now >= Date.parse(sale.opensAt)) return "open";
  if ((sale.status === "open" || sale.status === "sold_out") && now >= Date.parse(sale.closesAt)) return "closed";
  return sale.status;
}

export const sales = new Sales();
