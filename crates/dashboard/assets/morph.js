// Makes an element's content be what some HTML says, touching only what differs: focus, selections, what was opened
// and what was ticked stay. Elements with an id are the same wherever they move to.

export function morph(element, html) {
  const wanted = document.createElement("template");
  wanted.innerHTML = html;
  children(element, wanted.content);
}

function children(element, wanted) {
  const byId = new Map();
  for (const child of element.children) if (child.id) byId.set(child.id, child);
  let at = element.firstChild;
  for (const want of [...wanted.childNodes]) {
    let have = want.id ? byId.get(want.id) : undefined;
    if (!have && at && same(at, want)) have = at;
    if (!have) {
      element.insertBefore(want, at);
      continue;
    }
    if (have !== at) element.insertBefore(have, at);
    else at = at.nextSibling;
    update(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function same(have, want) {
  return have.nodeType === want.nodeType && have.nodeName === want.nodeName && (have.id ?? "") === (want.id ?? "");
}

function update(have, want) {
  if (have.nodeType !== Node.ELEMENT_NODE) {
    if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
    return;
  }
  for (const { name, value } of want.attributes) {
    if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  for (const { name } of [...have.attributes]) {
    // Whether it is open is the reader's choice, and the time's text the script's.
    if (!want.hasAttribute(name) && name !== "open" && name !== "data-row") have.removeAttribute(name);
  }
  if (have.matches("time[data-ago]")) return;
  children(have, want);
}
