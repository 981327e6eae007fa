// Light, dark, or as the system has it: chosen in turn, and remembered by this browser.
const KEY = "madang-theme";
const ORDER = ["system", "light", "dark"];
const root = document.documentElement;
const button = document.getElementById("theme");

const kept = () => {
  try { return localStorage.getItem(KEY) ?? "system"; } catch { return "system"; }
};

function show(theme) {
  if (theme === "system") root.removeAttribute("data-theme");
  else root.dataset.theme = theme;
  if (button) button.textContent = theme === "system" ? "Theme" : theme === "light" ? "Light" : "Dark";
}

export function next() {
  const theme = ORDER[(ORDER.indexOf(kept()) + 1) % ORDER.length];
  try { localStorage.setItem(KEY, theme); } catch { /* then for this page only */ }
  show(theme);
}

show(kept());
button?.addEventListener("click", next);
