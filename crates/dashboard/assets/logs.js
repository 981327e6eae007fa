// The tail of the logs: new lines at the end, which is kept in view as long as the reader is there.
const MOST = 2000;
const tail = document.getElementById("tail");

if (tail) {
  const box = tail.closest(".logs");
  const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  box.scrollTop = box.scrollHeight;
  document.addEventListener("madang:lines", ({ detail }) => {
    const follow = atEnd();
    tail.insertAdjacentHTML("beforeend", detail);
    while (tail.rows.length > MOST) tail.rows[0].remove();
    if (follow) box.scrollTop = box.scrollHeight;
  });
}
