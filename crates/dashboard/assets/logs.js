// The tail of the logs: new lines at the end, which is kept in view as long as the reader is there.
const MOST = 2000;
const tail = document.getElementById("tail");

if (tail) {
  const box = tail.closest(".logs");
  const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const toEnd = () => { box.scrollTop = box.scrollHeight; };
  let end = true;
  toEnd();
  box.addEventListener("scroll", () => { end = atEnd(); });
  document.addEventListener("madang:looked", () => { if (end) toEnd(); });
  document.addEventListener("madang:lines", ({ detail }) => {
    const follow = atEnd();
    document.getElementById("none")?.remove();
    tail.insertAdjacentHTML("beforeend", detail);
    while (tail.rows.length > MOST) tail.rows[0].remove();
    if (follow) toEnd();
  });
}
