// The pages work without this. With it, a timeline moves by itself and a form is sent once.

const timeline = document.querySelector("[data-live]");
if (timeline) {
  const moved = document.getElementById("moved");
  const source = new EventSource(timeline.dataset.live);
  const show = (event) => {
    timeline.innerHTML = event.data;
    moved.textContent = "Now: " + timeline.querySelector(".status").textContent;
    localTimes(timeline);
  };
  source.addEventListener("moved", show);
  source.addEventListener("over", (event) => {
    source.close();
    show(event);
  });
  // The browser comes back by itself, except where it was refused.
  source.addEventListener("error", () => {
    const gone = source.readyState === EventSource.CLOSED;
    moved.textContent = gone ? "Not live: load the page again to see how far it is." : "Connecting again …";
    if (gone) setTimeout(() => location.reload(), 3000);
  });
  addEventListener("pagehide", () => source.close());
}

for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "yes";
    const button = form.querySelector("button");
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Placing the order …";
  });
}

// A page from the browser's memory would still have its form marked as sent, and its stream closed.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

function localTimes(root) {
  for (const time of root.querySelectorAll("time[data-at]")) {
    const at = new Date(Number(time.dataset.at));
    const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" };
    time.textContent = at.toLocaleTimeString(undefined, options);
    time.title = at.toLocaleString();
  }
}
localTimes(document);
