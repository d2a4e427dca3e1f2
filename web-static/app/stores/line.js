/**
 * The signed-in buyer's places in line. Where one stands, `dibs.js` knows; here is what the page makes of it: how far the
 * buyer has come since joining, what it was for, and whether there is a place from another tab or device.
 *
 * @typedef {import("../../places.js").Place} Place
 * @typedef {{id: number | string, room: string | null, kind?: "sale" | "performance"}} Goal what one lines up for: a sale,
 *   where nothing else is said
 * @typedef {{start: number | null, goal: string | null}} Stint start: the first rank seen; goal: the address of the view
 *   where it was joined, as `sale/42`
 */
import { clock } from "../clock.js";
import { t } from "../i18n.js";
import { path } from "../rest.js";
import { Signal } from "../signal.js";
import { claims } from "./claims.js";
import { concerts } from "./concerts.js";
import { live } from "./live.js";
import { sales, statusNow } from "./sales.js";
import { session } from "./session.js";

/** A pass that should have run out by our clock is not offered any more, even if nobody said so yet. */
const EXPIRY_PATIENCE_MS = 2_000;
/** @type {Place} */
const OUT = { state: "out" };

class Line extends Signal {
  /** @type {Map<string, Stint>} */ #stints = new Map();
  /** Rooms of which was asked whether there is a place already. */ #looked = new Set();
  /** Why a join or a leave is not decided yet, by room. @type {Map<string, string>} */ #obstacles = new Map();
  #userId = null;

  constructor() {
    super();
    live.frames.addEventListener("error", ({ detail }) => this.#obstacle(detail));
    live.frames.addEventListener("place", ({ detail }) => this.#moved(detail));
    live.listen(() => this.#follow());
    this.#follow();
  }

  /** @param {string | null | undefined} room @returns {Place} */
  of(room) {
    const place = room ? live.dibs?.place(room) ?? OUT : OUT;
    if (place.state !== "admitted" || this.timeLeft(place) > -EXPIRY_PATIENCE_MS) return place;
    return { state: "out", reason: place.isUsed ? "spent" : "expired" };
  }

  /** @param {string} room @returns {string | null} why it takes so long to join or leave: a code such as `unavailable` */
  obstacle(room) {
    return this.#obstacles.get(room) ?? null;
  }

  /** @param {Place} place @returns {number} milliseconds until the pass runs out */
  timeLeft({ expiresAt }) {
    return Date.parse(expiresAt) - clock.now();
  }

  /** @param {string} room @returns {number} 0…1, from where the buyer joined to the front */
  progress(room) {
    const { state, rank, isProvisional } = this.of(room);
    if (state === "admitted") return 1;
    const { start } = this.#stint(room);
    return state === "waiting" && start && !isProvisional ? Math.max(0, 1 - rank / start) : 0;
  }

  /** The rooms in which the buyer waits or was let in, with what it was for; those let in come first. */
  get current() {
    const places = [...this.#stints].map(([room, { goal }]) => ({ room, goal, place: this.of(room) }));
    const isIn = ({ state, isUsed }) => state === "waiting" || (state === "admitted" && !isUsed);
    const turn = ({ place }) => (place.state === "admitted" ? 0 : 1);
    return places.filter(({ goal, place }) => goal && isIn(place) && !isOver(goal))
      .sort((a, b) => turn(a) - turn(b));
  }

  /** Joins the line of a room. Never rejects: what came of it shows in the place. @param {Goal} goal */
  async join(goal) {
    this.#noteGoal(goal);
    if (goal.kind !== "performance") claims.forgetRefusal(goal.id);
    live.reconnect();
    await live.dibs?.join(goal.room).catch(() => {});
    this.tell();
  }

  async leave(room) {
    live.reconnect();
    await live.dibs?.leave(room).catch(() => {});
    this.tell();
  }

  /**
   * Takes up the place that this client has already: from another tab, another device, or from before this tab was
   * closed. Asked once for each room, and only where this tab doesn't know of a place itself. @param {Goal} goal
   */
  async look(goal) {
    const { room } = goal;
    const userId = this.#userId;
    if (this.of(room).state !== "out" && !this.#stint(room).goal) this.#noteGoal(goal);
    if (!room || userId === null || live.state !== "connected" || this.#looked.has(room)) return;
    this.#looked.add(room);
    if (this.of(room).state !== "out") return;
    const known = await session.call("GET", path`api/users/${userId}/token?room=${room}`).catch(() => null);
    const hasPlace = known?.status === "WAITING" || known?.status === "IN_PROGRESS";
    if (hasPlace && this.#userId === userId && this.of(room).state === "out") await this.join(goal);
  }

  #follow() {
    const userId = session.user?.userId ?? null;
    if (userId === this.#userId) return;
    this.#userId = userId;
    this.#looked.clear();
    this.#stints = new Map(kept(userId));
    this.tell();
  }

  #obstacle({ room, code, retryInMs }) {
    if (room === undefined || retryInMs === undefined) return;
    this.#obstacles.set(room, code);
    this.tell();
  }

  #moved({ room, state, rank, isProvisional }) {
    this.#obstacles.delete(room);
    const { start, goal } = this.#stint(room);
    if (state === "waiting" && !isProvisional) this.#note(room, { start: Math.max(start ?? rank, rank), goal });
    else if (state !== "waiting") this.#note(room, { start: null, goal });
    this.tell();
  }

  #noteGoal({ room, id, kind = "sale" }) {
    this.#note(room, { ...this.#stint(room), goal: `${kind}/${encodeURIComponent(id)}` });
  }

  /** @returns {Stint} */
  #stint(room) {
    return this.#stints.get(room) ?? { start: null, goal: null };
  }

  #note(room, stint) {
    const before = this.#stint(room);
    this.#stints.set(room, stint);
    if (this.#userId === null || (before.start === stint.start && before.goal === stint.goal)) return;
    sessionStorage.setItem(`dibs:line:${this.#userId}`, JSON.stringify([...this.#stints]));
  }
}

/** @param {string} goal @returns {string} what it is called */
export function nameOf(goal) {
  const [kind, id] = parts(goal);
  if (kind === "performance") return concerts.performance(id)?.concert.name ?? t("performance.serial", { id });
  return sales.get(id)?.name ?? t("sale.serial", { id });
}

function isOver(goal) {
  const [kind, id] = parts(goal);
  const sale = kind === "sale" ? sales.get(id) : undefined;
  return sale !== undefined && ["closed", "cancelled"].includes(statusNow(sale));
}

function parts(goal) {
  const [kind, id] = goal.split("/");
  return [kind, decodeURIComponent(id)];
}

function kept(userId) {
  try {
    return JSON.parse(sessionStorage.getItem(`dibs:line:${userId}`)) ?? [];
  } catch {
    return [];
  }
}

export const line = new Line();
