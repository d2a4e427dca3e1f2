/**
 * What is kept over a reload, each client's under its own name: the position in its outcomes, its places in line, and the
 * keys of claims that are not decided. Without a storage, or without a name, nothing is.
 *
 * @typedef {{getItem(key: string): string | null, setItem(key: string, value: string): void,
 *            removeItem(key: string): void}} KeyValueStore
 */
export class Kept {
  /** @type {KeyValueStore | null} */ #storage;
  /** The `sub` of the token. @type {string | null} */ subject = null;

  /** @param {KeyValueStore | null} [storage] this tab's own, where none is given */
  constructor(storage) {
    this.#storage = storage === undefined ? tabStorage() : storage;
  }

  /** @param {"position" | "places"} what */
  get(what) {
    return this.subject === null ? null : parsed(this.#storage?.getItem(`dibs:${what}:${this.subject}`));
  }

  /** @param {"position" | "places"} what */
  set(what, value) {
    if (this.subject !== null) this.#storage?.setItem(`dibs:${what}:${this.subject}`, JSON.stringify(value));
  }

  hasKey(sale) {
    return this.subject !== null && (this.#storage?.getItem(this.#keyName(sale)) ?? null) !== null;
  }

  /** The key of the undecided claim for a sale; a new one where there is none. */
  keyFor(sale) {
    if (this.subject === null || this.#storage === null) return newKey();
    const kept = this.#storage.getItem(this.#keyName(sale));
    if (kept) return kept;
    const key = newKey();
    this.#storage.setItem(this.#keyName(sale), key);
    return key;
  }

  forgetKey(sale) {
    if (this.subject !== null) this.#storage?.removeItem(this.#keyName(sale));
  }

  #keyName(sale) {
    return `dibs:key:${this.subject}:${sale}`;
  }
}

/** @returns {any} null for what is no JSON */
export function parsed(text) {
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
export function subjectOf(token) {
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
