/** One example as it is shown: a picture, or its beginning in words. */

import { make } from "./dom.js";

const LETTERS = 60;

/** What stands for an example {id, picture?, text?}. */
export function face(example) {
  if (example.picture) return make("img", { src: example.picture, alt: "", width: 44, height: 44, draggable: "false" });
  const words = String(example.text ?? example.id);
  return make("span", { classes: "snippet" }, words.length > LETTERS ? `${words.slice(0, LETTERS)}…` : words);
}
