/** A thing that can be listened to: stores tell views that something changed, without saying how to show it. */
export class Signal {
  #listeners = new Set();

  /** @param {() => void} listener @returns {() => void} stops listening */
  listen(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell() {
    for (const listener of [...this.#listeners]) listener();
  }
}
