// The keyboard: places after a `g`, rows with j and k, and the rest as the help says.
import { next as theme } from "./theme.js";
import { toggle } from "./live.js";

const help = document.getElementById("keys");
const links = [...document.querySelectorAll("nav a[data-key]")];
const WAIT = 1000;
let leading = 0;

const places = document.getElementById("keys-places");
if (places) places.textContent = links.map((link) => `${link.dataset.key} ${link.textContent}`).join(", ");
document.getElementById("help")?.addEventListener("click", () => help.showModal());

function row(step) {
  const rows = [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a, button, summary"));
  if (rows.length === 0) return;
  const now = rows.indexOf(document.activeElement?.closest("tr"));
  const to = rows[Math.min(rows.length - 1, Math.max(0, now < 0 ? 0 : now + step))];
  to.querySelector("th a, a, summary, button")?.focus();
}

const ACTIONS = {
  "/": () => document.querySelector("main [data-search], main .filters input, main .filters select")?.focus(),
  "?": () => help.showModal(),
  d: theme,
  p: toggle,
  c: () => document.querySelector("main .command button")?.click(),
  j: () => row(1),
  k: () => row(-1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (Date.now() - leading < WAIT) {
    leading = 0;
    const link = links.find((link) => link.dataset.key === event.key);
    if (link) {
      event.preventDefault();
      link.click();
    }
    return;
  }
  if (event.key === "g") {
    leading = Date.now();
    return;
  }
  const action = ACTIONS[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});
