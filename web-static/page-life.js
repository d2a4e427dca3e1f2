/**
 * What becomes of the page that a connection is on: it is online again, put aside, or taken up.
 *
 * Browsers keep a page that one has left, with its connection, in case that one goes back to it. Nobody looks at it
 * meanwhile, so it must not hold a place in line for longer than a closed one.
 */
export class PageLife {
  #listeners;

  /** @param {{online: () => void, putAside: () => void, takenUp: () => void}} told */
  constructor({ online, putAside, takenUp }) {
    this.#listeners = [
      ["online", online],
      ["pagehide", ({ persisted }) => persisted && putAside()],
      ["pageshow", ({ persisted }) => persisted && takenUp()],
    ];
  }

  follow() {
    for (const [name, listener] of this.#listeners) globalThis.addEventListener?.(name, listener);
  }

  stop() {
    for (const [name, listener] of this.#listeners) globalThis.removeEventListener?.(name, listener);
  }
}
