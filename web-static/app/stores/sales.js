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
 * @property {string | null} [room] its waiting room
 */
import { clock } from "../clock.js";
import { call, path } from "../rest.js";
import { Signal } from "../signal.js";
import { live } from "./live.js";

const POLL_MS = 2_000;
/** With a connection, asking is only a safety net. */
const POLL_CONNECTED_MS = 20_000;
/** Of a long list, the newest are watched; the rest is heard of by asking. */
const MOST_WATCHED = 50;
const PAGE = 100;
const byId = new Intl.Collator("en", { numeric: true });

class Sales extends Signal {
  /** @type {Map<string, Sale>} */ #known = new Map();
  #oldest = null;
  /** Counts the frames heard of each sale, so that an older REST answer never undoes one. */ #heard = new Map();

  constructor() {
    super();
    live.frames.addEventListener("sale", ({ detail: { type, sale, offset, ...news } }) => {
      const known = this.#known.get(String(sale));
      this.#heard.set(String(sale), (this.#heard.get(String(sale)) ?? 0) + 1);
      if (!known) return;
      this.#known.set(String(sale), { ...known, ...news, id: known.id });
      this.tell();
    });
  }

  /** @returns {Sale | undefined} */
  get(id) {
    return this.#known.get(String(id));
  }

  /** Newest first. */
  get all() {
    return [...this.#known.values()].sort((a, b) => byId.compare(b.id, a.id));
  }

  /** There are more than were asked for so far. */
  hasOlder = false;

  /** @param {Sale} sale */
  learn(sale) {
    this.#known.set(String(sale.id), sale);
    this.tell();
  }

  async loadAll() {
    const before = new Map(this.#heard);
    const answers = await call("GET", `api/sales?limit=${PAGE}`);
    const isFirst = this.#oldest === null;
    for (const answer of answers) this.#known.set(String(answer.id), this.#merged(answer, before));
    if (isFirst) this.#reached(answers);
    this.tell();
  }

  /** The next page of older ones. */
  async loadOlder() {
    const answers = await call("GET", path`api/sales?limit=${PAGE}&before=${this.#oldest}`);
    for (const answer of answers) this.#known.set(String(answer.id), answer);
    this.#reached(answers);
    this.tell();
  }

  #reached(answers) {
    this.hasOlder = answers.length === PAGE;
    this.#oldest = answers.at(-1)?.id ?? this.#oldest;
  }

  async load(id) {
    const before = new Map(this.#heard);
    this.learn(this.#merged(await call("GET", path`api/sales/${id}`), before));
  }

  /** A frame that came while we were asking is newer than the answer. */
  #merged(answer, before) {
    const id = String(answer.id);
    const known = this.#known.get(id);
    if (!known || this.#heard.get(id) === before.get(id)) return answer;
    return { ...answer, status: known.status, remaining: known.remaining };
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
      for (const sale of id === null ? this.all.slice(0, MOST_WATCHED) : [this.get(id)]) {
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
      askLater(error?.retryAfterMs);
    };
    const askLater = (pause = live.state === "connected" ? POLL_CONNECTED_MS : POLL_MS) => {
      clearTimeout(timer);
      timer = setTimeout(ask, pause * (0.75 + Math.random() / 2));
    };
    // A new connection is told by the server how things are: many that come back together need not all ask.
    const stopListening = live.listen(() => {
      watch();
      askLater();
    });
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
