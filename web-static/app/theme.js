/** Light or dark: as the system has it, until the buyer chooses. `theme-boot.js` applies the choice before painting. */
const STORED = "dibs:theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : system.matches;
}

export function toggleTheme() {
  const next = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem(STORED, next);
}

/** @param {() => void} listener */
export function onSystemTheme(listener) {
  system.addEventListener("change", listener);
}
