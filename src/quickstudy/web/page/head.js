/** The head of the page: what it is, and what can be done with the model as a whole. */

import { button, make } from "./dom.js";
import { downloads } from "./download.js";
import { models } from "./models.js";
import { change } from "./work.js";
import { LANGUAGES, current, speak } from "./words.js";

/** changed(state): called with what undoing has left. opened(): when another model is there. */
export function head({ brain, about, changed, opened }) {
  const undo = button(
    "undo",
    async () => {
      const state = await change(() => brain.undo());
      if (state) changed(state);
    },
    { id: "undo", "aria-keyshortcuts": "Control+Z" },
  );
  const language = make(
    "select",
    { label: "language", id: "language" },
    ...LANGUAGES.map((one) => make("option", { value: one, said: `language.${one}`, lang: one })),
  );
  language.value = current();
  language.addEventListener("change", () => speak(language.value, true));
  const row = make(
    "div",
    { classes: "bar" },
    brain.models ? models({ models: brain.models, opened }) : null,
    about.learns === false ? null : undo,
    downloads({ brain, about }),
    language,
  );
  const show = (state) => {
    undo.disabled = !(state.versions > 0);
  };
  const node = make(
    "div",
    { classes: "titled" },
    make(
      "div",
      {},
      make("h1", { said: "page.title" }),
      make("p", { classes: "small", said: about.learns === false ? "page.about.fixed" : `page.about.${about.target}` }),
    ),
    row,
  );
  return { node, show, undo };
}
