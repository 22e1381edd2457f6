/** Where the model is tried: what is drawn, typed or dropped here is answered at once, and anew when it has learned. */

import { answer, inWords, list } from "./answer.js";
import { calm, make } from "./dom.js";
import { estimate } from "./estimate.js";
import { calmed, complain, speakOf } from "./notices.js";
import { toolbox } from "./tools/index.js";

/** placeOf(name): the place of a class, for its hue. */
export function asking({ brain, about, placeOf }) {
  const said = make("div", { classes: "said" });
  const worth = make("div", { classes: "worth" });
  let state = { names: [], examples: [] };
  let records = [];
  let waiting = null; // a question that came while another was on its way
  let asked = false;
  let failed = false;
  let shown = null; // the answers that are shown, and of which state

  const forecasts = about.format.kind === "series"; // which need nothing but what the model has seen
  const ready = () =>
    about.target === "classes" ? state.names.length > 1 : state.examples.length > 0 || about.learns === false;
  const speak = calm(700, (answers) => speakOf(answers.map(inWords).join("; ")));

  const render = () => {
    if (shown && (records.length || forecasts))
      said.replaceChildren(
        shown.length === 1 ? answer(shown[0], { placeOf, examples: state.examples, units: about.units }) : list(shown),
      );
    else said.replaceChildren(make("p", { classes: ["small", "hint"], said: ready() ? "ask.hint" : "ask.few" }));
  };
  const ask = async () => {
    if (!(records.length || forecasts) || !ready()) {
      shown = null;
      return render();
    }
    if (asked) {
      waiting = true;
      return undefined;
    }
    asked = true;
    said.setAttribute("aria-busy", "true");
    try {
      const answers = await brain.ask(records);
      if (failed) calmed();
      failed = false;
      shown = answers.length ? answers : null;
      render();
      if (shown) speak(answers);
    } catch (error) {
      shown = null;
      failed = true;
      render();
      complain(error);
    } finally {
      asked = false;
      said.removeAttribute("aria-busy");
    }
    if (!waiting) return undefined;
    waiting = null;
    return ask();
  };
  const tools = toolbox({
    format: about.format,
    live: true,
    limits: about.limits,
    give: (given) => {
      records = given;
      return ask();
    },
  });
  const show = (now) => {
    state = now;
    worth.replaceChildren(...(ready() && (about.learns !== false || now.estimate) ? [estimate(now)] : []));
    return ask();
  };
  document.addEventListener("language", render);
  const node = make(
    "section",
    { id: "try", tabindex: -1, classes: ["card", "try"], "aria-labelledby": "try-title" },
    make("h2", { id: "try-title", said: "ask.title" }),
    tools.node,
    said,
    worth,
  );
  tools.takes(node);
  const clear = () => {
    document.removeEventListener("language", render);
    tools.clear();
  };
  return { node, show, clear };
}
