// A classic script that runs before the first paint: the chosen theme must not flash after the other one.
try {
  const chosen = localStorage.getItem("dibs:theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // No storage: as the system has it.
}
