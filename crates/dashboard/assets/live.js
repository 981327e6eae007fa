// Follows what happens: one stream of events for a page, whose parts or lines are put in place as they come.
import { morph } from "./morph.js";
import { refresh } from "./time.js";

const { live, lines } = document.body.dataset;
const state = document.getElementById("connection");
const pause = document.getElementById("pause");
const AGAIN = 3000;
let source;
let timer;

function url() {
  if (live === "lines") return lines;
  return `/live?of=${encodeURIComponent(location.pathname + location.search)}`;
}

function say(text, kind = "") {
  state.textContent = text;
  state.className = kind;
}

function open() {
  clearTimeout(timer);
  source = new EventSource(url());
  source.addEventListener("open", () => say("live", "good"));
  source.addEventListener("part", (event) => {
    const part = document.getElementById(event.lastEventId);
    if (!part) return;
    morph(part, event.data);
    refresh(part);
  });
  source.addEventListener("lines", (event) => {
    document.dispatchEvent(new CustomEvent("madang:lines", { detail: event.data }));
  });
  source.addEventListener("error", () => {
    close();
    say("not connected", "bad");
    timer = setTimeout(open, AGAIN);
  });
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = undefined;
}

export function toggle() {
  if (!live) return;
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Follow" : "Pause";
  if (paused) {
    close();
    say("paused");
  } else {
    open();
  }
}

if (live) {
  open();
  pause?.addEventListener("click", toggle);
  // A page that nobody sees needs no stream, of which the node has a bounded number.
  document.addEventListener("visibilitychange", () => {
    if (pause?.getAttribute("aria-pressed") === "true") return;
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
}
