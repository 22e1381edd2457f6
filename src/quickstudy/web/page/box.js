/** The box of one class: its name, the tools that give it examples, and those that it has. */

import { hue } from "./colours.js";
import { make, sign } from "./dom.js";
import { face } from "./example.js";
import { toolbox } from "./tools/index.js";
import { put, text } from "./words.js";

/**
 * A box. name: of its class, or null where there are none. acts: {give(box, records), rename(box, name) -> whether,
 * remove(box), forget(id)}. above: what stands over the tools.
 */
export function box({ name, about, acts, above = null }) {
  const input = make("input", {
    label: "class.name",
    value: name ?? "",
    classes: "name",
    autocomplete: "off",
    maxlength: 80,
  });
  const count = make("span", { classes: ["count", "small"], role: "img" });
  const list = make("ul", { classes: "examples", label: "class.examples" });
  const title = name === null ? make("h3", { said: "examples.title" }) : input;
  const dot = make("span", { classes: "dot", "aria-hidden": "true" });
  const self = { name, examples: [], node: null, show };
  const give = (records) => acts.give(self, records);
  const tools = about.learns === false ? null : toolbox({ format: about.format, give, limits: about.limits });
  const gone =
    name !== null && tools ? sign("×", "class.remove", () => acts.remove(self), { classes: ["sign", "remove"] }) : null;

  input.addEventListener("change", async () => {
    const wanted = input.value.trim();
    if (!wanted || wanted === self.name || !(await acts.rename(self, wanted))) input.value = self.name;
    naming();
  });
  input.addEventListener("focus", () => input.select());
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") input.blur();
    if (event.key === "Escape") {
      input.value = self.name;
      input.blur();
    }
  });
  const naming = () => {
    self.node.setAttribute("aria-label", self.name ?? text("examples.title"));
    if (gone) for (const where of ["aria-label", "title"]) put(gone, "class.remove", { name: self.name }, where);
  };

  /** Show these examples, in the hue of this place. fixed: whether the name stays. */
  function show(examples, place, fixed) {
    self.examples = examples;
    input.readOnly = fixed;
    if (fixed && tools) put(input, "class.fixed", {}, "title");
    self.node.style.setProperty("--hue", hue(place));
    count.textContent = examples.length || "";
    for (const where of ["aria-label", "title"]) put(count, "examples.count", { count: examples.length }, where);
    const held = list.contains(document.activeElement)
      ? [...list.children].findIndex((one) => one.contains(document.activeElement))
      : -1;
    const before = list.children.length;
    list.replaceChildren(...examples.map(item));
    if (examples.length > before) list.scrollTop = list.scrollHeight;
    if (held >= 0) (list.children[Math.min(held, examples.length - 1)]?.querySelector("button") ?? input).focus();
    naming();
  }
  const item = (example, i) => {
    const values = { place: i + 1, name: self.name ?? example.label ?? "" };
    const shown = [
      face(example),
      self.name === null && example.label != null ? make("b", {}, String(example.label)) : null,
    ];
    if (!tools) return make("li", {}, ...shown);
    const forget = make(
      "button",
      {
        type: "button",
        label: "example.forget",
        hint: "example.forget",
        values,
        on: { click: () => acts.forget(example.id) },
      },
      ...shown,
    );
    return make("li", {}, forget);
  };

  self.node = make(
    "section",
    { classes: ["card", "box"] },
    make("div", { classes: "head" }, dot, title, count, gone),
    tools ? above : null,
    tools?.node,
    list,
  );
  tools?.takes(self.node);
  self.focus = () => input.select();
  self.clear = () => tools?.clear();
  return self;
}
