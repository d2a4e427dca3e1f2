/**
 * Who is signed in, and the operator's admin key.
 *
 * The buyer's token is kept for this tab, or for this browser if asked to stay signed in. The admin key is only ever
 * kept for this tab.
 *
 * @typedef {{userId: string | number, name: string, token: string, expiresAt: string}} User
 */
import { call } from "../rest.js";
import { Signal } from "../signal.js";

const USER = "dibs:user";
const ADMIN_KEY = "dibs:admin-key";

class Session extends Signal {
  /** @type {User | null} */ #user = null;
  /** Signed out by the server, not by the buyer. */ hasExpired = false;

  constructor() {
    super();
    this.#user = stillValid(sessionStorage.getItem(USER)) ?? stillValid(localStorage.getItem(USER));
  }

  get user() {
    return this.#user;
  }

  /** @param {{name: string, password: string, stay: boolean}} credentials */
  signUp(credentials) {
    return this.#enter("api/users", credentials);
  }

  /** @param {{name: string, password: string, stay: boolean}} credentials */
  signIn(credentials) {
    return this.#enter("api/sessions", credentials);
  }

  async #enter(path, { name, password, stay }) {
    const account = await call("POST", path, { body: { name, password } });
    this.#user = { name, ...account };
    this.hasExpired = false;
    (stay ? localStorage : sessionStorage).setItem(USER, JSON.stringify(this.#user));
    this.tell();
  }

  async signOut() {
    const token = this.#user?.token;
    this.#drop();
    if (token) await call("DELETE", "api/sessions", { token }).catch(() => {});
  }

  /** The server no longer takes the token. */
  expire() {
    if (!this.#user) return;
    this.hasExpired = true;
    this.#drop();
  }

  #drop() {
    this.#user = null;
    sessionStorage.removeItem(USER);
    localStorage.removeItem(USER);
    this.tell();
  }

  /** A call as the signed-in buyer. */
  async call(method, path, options = {}) {
    try {
      return await call(method, path, { ...options, token: this.#user?.token });
    } catch (error) {
      if (error.status === 401) this.expire();
      throw error;
    }
  }

  get adminKey() {
    return sessionStorage.getItem(ADMIN_KEY);
  }

  /** Asks something that needs the key, and keeps the key only if the server took it. @param {string} key */
  async enterAdminKey(key) {
    await call("GET", "api/failed-orders", { token: key });
    sessionStorage.setItem(ADMIN_KEY, key);
    this.tell();
  }

  forgetAdminKey() {
    sessionStorage.removeItem(ADMIN_KEY);
    this.tell();
  }

  /** A call with the admin key. */
  async adminCall(method, path, options = {}) {
    try {
      return await call(method, path, { ...options, token: this.adminKey });
    } catch (error) {
      if (error.status === 401) this.forgetAdminKey();
      throw error;
    }
  }
}

function stillValid(text) {
  try {
    const user = JSON.parse(text);
    return user && !(Date.parse(user.expiresAt) < Date.now()) ? user : null;
  } catch {
    return null;
  }
}

export const session = new Session();
