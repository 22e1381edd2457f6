/** Asks for the token that a server wants. */

import { field, make } from "./dom.js";

/** The token that the reader types. wrong: whether one was tried that the server does not know. */
export function askToken(wrong = false) {
  const input = make("input", { type: "password", autocomplete: "current-password", required: true });
  const note = make("p", { classes: "small", said: wrong ? "token.wrong" : "token.why" });
  const form = make(
    "form",
    { method: "dialog" },
    make("h2", { said: "token.title" }),
    note,
    field("token.label", input),
    make("button", { type: "submit", said: "token.use", classes: "main" }),
  );
  const dialog = make("dialog", { label: "token.title" }, form);
  document.body.append(dialog);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  return new Promise((done) => {
    form.addEventListener("submit", () => {
      dialog.remove();
      done(input.value.trim());
    });
  });
}
