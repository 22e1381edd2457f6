/** Elements, made in one line. */

import { put } from "./words.js";

/**
 * An element. `said` and `label`, `hint`, `prompt` are keys of words: its text, its name for those who do not see it,
 * its title, its placeholder; `values` fill them. `on` are listeners; `style` are properties; the rest are attributes.
 */
export function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  const { said, label, hint, prompt, values, on, style, classes, ...rest } = options;
  for (const [name, value] of Object.entries(rest)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.classList.add(...[classes ?? []].flat());
  for (const [name, value] of Object.entries(style ?? {})) node.style.setProperty(name, value);
  for (const [name, heard] of Object.entries(on ?? {})) node.addEventListener(name, heard);
  for (const [key, where] of [
    [said, ""],
    [label, "aria-label"],
    [hint, "title"],
    [prompt, "placeholder"],
  ]) {
    if (key) put(node, key, values, where);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

/** A button that says what it does. */
export const button = (said, click, options = {}) =>
  make("button", { type: "button", said, on: { click }, ...options });

/** A button of one sign, named for those who do not see it. */
export const sign = (mark, label, click, options = {}) =>
  make("button", { type: "button", label, hint: label, on: { click }, classes: "sign", ...options }, mark);

/** A field with its label before it. */
export const field = (said, input, options = {}) =>
  make("label", { classes: "field", ...options }, make("span", { said }), input);

/** Do something once nothing has called for it for a while. */
export function calm(wait, act) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
}
