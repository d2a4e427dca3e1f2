/** The signed-in buyer's connection: there is one while somebody is signed in, and none otherwise. */
import { connect } from "../../dibs.js";
import { clock } from "../clock.js";
import { Signal } from "../signal.js";
import { session } from "./session.js";

const BAD_TOKEN = "close_4501";
const FORWARDED = ["connected", "result", "order", "sale", "error", "place", "seats", "reservation"];

class Live extends Signal {
  /** @type {import("../../dibs.js").Dibs | null} */ dibs = null;
  /** Every frame of whichever connection there is, for stores to listen to. */ frames = new EventTarget();
  #token = null;

  get state() {
    return this.dibs?.state ?? "closed";
  }

  /** After the connection was ended for good, by the server or by an error. Does nothing otherwise. */
  reconnect() {
    if (this.dibs?.state !== "closed") return;
    this.dibs.open();
    this.tell();
  }

  follow() {
    session.listen(() => this.#follow());
    this.#follow();
  }

  #follow() {
    const token = session.user?.token ?? null;
    if (token === this.#token) return;
    this.#token = token;
    this.dibs?.close();
    this.dibs = null;
    if (token) this.#connect(token);
    this.tell();
  }

  #connect(token) {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const dibs = connect(url, () => token);
    this.dibs = dibs;
    for (const name of FORWARDED) {
      dibs.addEventListener(name, ({ detail }) => this.frames.dispatchEvent(new CustomEvent(name, { detail })));
    }
    dibs.addEventListener("clock", ({ detail }) => clock.learn(detail.serverTime, detail.roundTripMs));
    dibs.addEventListener("error", ({ detail }) => detail.code === BAD_TOKEN && session.expire());
    dibs.addEventListener("connected", () => this.tell());
    dibs.addEventListener("disconnected", () => this.tell());
  }
}

export const live = new Live();
