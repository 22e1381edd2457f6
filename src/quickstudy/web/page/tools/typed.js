/** Texts that are typed, and rows and numbers that are pasted from a spreadsheet. */

import { button, calm, make } from "../dom.js";
import { complain } from "../notices.js";

/** words: begins the keys of what the field says. read(content): its records; give(records). */
export function typed({ words, read, give, live }) {
  const area = make("textarea", {
    rows: live ? 3 : 4,
    label: `${words}.label`,
    prompt: live ? `${words}.live` : `${words}.prompt`,
    spellcheck: false,
  });
  const records = () => {
    try {
      return read(area.value);
    } catch (error) {
      complain(error);
      return [];
    }
  };
  const add = async () => {
    const found = records();
    if (!found.length) return area.focus();
    if ((await give(found)) !== undefined) area.value = "";
  };
  if (live)
    area.addEventListener(
      "input",
      calm(200, () => give(area.value.trim() ? records() : [])),
    );
  else {
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) add();
    });
  }
  const clear = () => {
    area.value = "";
    if (live) give([]);
  };
  const buttons = make(
    "div",
    { classes: "buttons" },
    live ? button("draw.clear", clear) : button("add", add, { classes: "main" }),
  );
  return { node: make("div", { classes: "typed" }, area, buttons), clear };
}
