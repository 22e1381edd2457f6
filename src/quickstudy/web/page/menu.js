/** Small menus: a button that opens a list, which Escape and a click elsewhere close. */

import { make } from "./dom.js";

/** said: key of what the button says. fill(): its entries, asked for each time that it opens. */
export function menu(said, fill, options = {}) {
  const body = make("div", { classes: "entries" });
  const head = make("summary", { said });
  const node = make("details", { classes: "menu", name: "menu", ...options }, head, body);
  node.addEventListener("toggle", async () => {
    if (node.open) body.replaceChildren(...(await fill(close)));
  });
  const close = () => {
    node.open = false;
    head.focus();
  };
  node.addEventListener("keydown", (event) => event.key === "Escape" && node.open && close());
  document.addEventListener("pointerdown", (event) => {
    if (!node.contains(event.target)) node.open = false;
  });
  return node;
}
