// Adds the secret of the session to forms that are made for no session alone.
const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";
for (const form of document.querySelectorAll("form[data-secret]")) {
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = "csrf";
  field.value = csrf;
  form.append(field);
}
