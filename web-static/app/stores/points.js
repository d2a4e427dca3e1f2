/** The signed-in buyer's points. What is paid and given back changes them, so they are asked for again after each. */
import { path } from "../rest.js";
import { Signal } from "../signal.js";
import { session } from "./session.js";

class Points extends Signal {
  /** @type {number | null} null while it is not known */ balance = null;
  #userId = null;

  constructor() {
    super();
    session.listen(() => this.#follow());
    this.#follow();
  }

  #follow() {
    const userId = session.user?.userId ?? null;
    if (userId === this.#userId) return;
    this.#userId = userId;
    this.balance = null;
    this.tell();
  }

  async load() {
    const userId = this.#userId;
    if (userId === null) return;
    const { point } = await session.call("GET", path`api/users/${userId}/point`);
    if (this.#userId !== userId) return;
    this.balance = point;
    this.tell();
  }

  /** Tops up. Where it is not known whether that happened, the balance that is asked for then says it. */
  async charge(point) {
    try {
      await session.call("PATCH", "api/users/point", { body: { userId: this.#userId, point } });
    } finally {
      await this.load().catch(() => {});
    }
  }
}

export const points = new Points();
