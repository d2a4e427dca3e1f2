/** Light or dark: as the system has it, until the buyer chooses. `theme-boot.js` applies the choice before painting. */
import { Signal } from "./signal.js";

const STORED = "dibs:theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** Tells when the colours are others. */
export const theme = new Signal();
system.addEventListener("change", () => theme.tell());

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

export function toggleTheme() {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem(STORED, next);
  theme.tell();
}
