/** The whole page over one brain. */

import { asking } from "./ask.js";
import { board } from "./board.js";
import { make } from "./dom.js";
import { head } from "./head.js";
import { complain } from "./notices.js";
import { kindOf } from "./tools/index.js";

/** Put the page together, and again for each model that is opened. */
export async function app(brain) {
  const main = document.getElementById("main");
  const top = document.getElementById("top");
  let parts = [];
  let above = null;

  const changed = (state) => parts.forEach((part) => part.show(state));
  const opened = async () => {
    main.setAttribute("aria-busy", "true");
    parts.forEach((part) => part.clear?.());
    const about = await brain.about();
    const state = await brain.state();
    main.classList.toggle("ink", about.format.channels === 1 && about.format.invert === true);
    above = head({ brain, about, changed, opened });
    top.replaceChildren(above.node);
    if (about.target === "masks" || !kindOf(about.format)) {
      parts = [above];
      main.replaceChildren(make("p", { classes: "card", said: "page.unknown" }));
    } else {
      const boxes = board({ brain, about, changed });
      const trial = asking({ brain, about, placeOf: boxes.placeOf });
      parts = [above, boxes, trial];
      main.replaceChildren(boxes.node, trial.node);
      above.node.append(make("a", { href: "#try", said: "ask.title", classes: ["skip", "small"] }));
    }
    changed(state);
    main.removeAttribute("aria-busy");
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (
      (event.ctrlKey || event.metaKey) &&
      !event.shiftKey &&
      event.key.toLowerCase() === "z" &&
      !typing &&
      above &&
      !above.undo.disabled
    ) {
      event.preventDefault();
      above.undo.click();
    }
  });
  try {
    await opened();
  } catch (error) {
    main.removeAttribute("aria-busy");
    complain(error);
  }
}
