// Follows what happens: one stream of events for a page, whose parts or lines are put in place as they come. Where the
// node has no stream left the whole page is asked for again and again instead, until there is one.
import { morph } from "./morph.js";
import { refresh } from "./time.js";

const { live, lines } = document.body.dataset;
const state = document.getElementById("connection");
const pause = document.getElementById("pause");
const AGAIN = 3000;
const LOOK = 5000;
let source;
let timer;

function url() {
  if (live === "lines") return lines;
  return `/live?of=${encodeURIComponent(location.pathname + location.search)}`;
}

function say(text, kind = "", more = "") {
  if (state.textContent !== text) state.textContent = text;
  state.className = kind;
  state.title = more;
}

const paused = () => pause?.getAttribute("aria-pressed") === "true";

// Asks for the page as one without scripts gets it, and puts its parts in place.
async function look() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const now = page.getElementById(part.id);
    if (!now || part.querySelector("form.filters")) continue;
    morph(part, now.innerHTML);
    refresh(part);
  }
  document.dispatchEvent(new Event("madang:looked"));
}

// Why there is no stream: a stream does not say with which status it was refused.
async function refused() {
  const stop = new AbortController();
  let wait = AGAIN;
  try {
    const answer = await fetch(url(), { signal: stop.signal });
    if (answer.status === 503) {
      const problem = await answer.json();
      say(`not live: looks every ${LOOK / 1000} s`, "busy", problem.detail);
      wait = LOOK;
      await look();
    } else if (answer.status === 401) {
      say("logged out: madang open logs you in", "bad");
    } else {
      wait = 0;
    }
  } catch {
    say("not connected", "bad");
  }
  stop.abort();
  if (!paused() && !document.hidden && !source) timer = setTimeout(open, wait);
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
    refused();
  });
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = undefined;
}

export function toggle() {
  if (!live) return;
  const stop = !paused();
  pause.setAttribute("aria-pressed", String(stop));
  pause.textContent = stop ? "Follow" : "Pause";
  if (stop) {
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
    if (paused()) return;
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
}
