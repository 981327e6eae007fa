// Asks before anything is done, and adds what the server wants to hear of this page's forms.
const dialog = document.getElementById("confirm");
const text = document.getElementById("confirm-text");
const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";

function post(form, extra) {
  const sent = document.createElement("form");
  sent.method = "post";
  sent.action = "/actions";
  sent.hidden = true;
  const fields = [...new FormData(form), ...Object.entries({ csrf, ...extra })];
  for (const [name, value] of fields) {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    field.value = value;
    sent.append(field);
  }
  document.body.append(sent);
  sent.submit();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.dataset.confirm || !dialog) return;
  event.preventDefault();
  text.textContent = form.dataset.confirm;
  dialog.returnValue = "no";
  dialog.showModal();
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") post(form, { confirmed: "yes" });
  }, { once: true });
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it to copy";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});
