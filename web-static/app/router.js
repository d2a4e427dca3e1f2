/** Shows the view that the part of the address after `#` names. */
import { refresh } from "./dom.js";
import { t } from "./i18n.js";
import { tabTitle } from "./parts/tab-title.js";
import { session } from "./stores/session.js";
import { adminKeyView, notFoundView, views } from "./views.js";

export class Router {
  #main;
  #view = null;
  #hadAdminKey = false;
  /** Counts what was asked for: a slow module must not replace a view asked for later. */ #turn = 0;

  /** @param {HTMLElement} main */
  constructor(main) {
    this.#main = main;
  }

  start() {
    addEventListener("hashchange", () => this.#route(true));
    session.listen(() => {
      if (this.#hadAdminKey !== Boolean(session.adminKey) && find().entry.needsAdminKey) this.#route(true);
    });
    this.#route(false);
  }

  retitle() {
    if (this.#view) document.title = `${tabTitle(this.#view.title())} · ${t("app.name")}`;
  }

  async #route(moveFocus) {
    const turn = ++this.#turn;
    this.#hadAdminKey = Boolean(session.adminKey);
    const { entry, parts } = find();
    const shown = entry.needsAdminKey && !this.#hadAdminKey ? adminKeyView : entry;
    const { show } = await shown.load();
    if (turn !== this.#turn) return;
    this.#view?.close?.();
    this.#view = show(...(shown === entry ? parts : []));
    this.#main.replaceChildren(this.#view.element);
    refresh(document.body);
    this.retitle();
    if (!moveFocus) return;
    scrollTo(0, 0);
    const heading = this.#main.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
  }
}

/** @returns {{entry: {load: Function, section?: string, needsAdminKey?: boolean}, parts: string[]}} */
function find() {
  for (const entry of views) {
    const match = entry.pattern.exec(address());
    if (match) return { entry, parts: match.slice(1).map(decodeURIComponent) };
  }
  return { entry: notFoundView, parts: [] };
}

function address() {
  return location.hash.slice(1) || "/";
}

/** The section of the view that is shown, for the header's links. */
export function currentSection() {
  return find().entry.section;
}
