/** Short messages about what was just done, seen and spoken, gone after a while. */
import { h } from "../dom.js";

const SHOWN_MS = 6_000;

const polite = h("p", { role: "status", class: "toast" });
const urgent = h("p", { role: "alert", class: "toast toast--problem" });
export const announcer = h("div", { class: "toasts" }, polite, urgent);

let timer = 0;

/** @param {string} words @param {{isProblem?: boolean}} [options] */
export function announce(words, { isProblem = false } = {}) {
  clearTimeout(timer);
  polite.textContent = isProblem ? "" : words;
  urgent.textContent = isProblem ? words : "";
  timer = setTimeout(() => { polite.textContent = urgent.textContent = ""; }, SHOWN_MS);
}
