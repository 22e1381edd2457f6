/** What went wrong, in words: what the code says in the reader's language, and below it what the program says. */

import { make, sign } from "./dom.js";
import { current, has } from "./words.js";

const MOST = 3;

/** Show an error {code, message, values?}; what has none is one of the page itself. */
export function complain(error) {
  const known = error?.code && has(`error.${error.code}`);
  if (!error?.code) console.error(error);
  const key = known ? `error.${error.code}` : "error.unknown";
  const region = document.getElementById("notices");
  const detail = error?.message
    ? [
        make(
          "details",
          { open: current() === "en" },
          make("summary", { said: "error.details" }),
          make("p", { lang: "en" }, error.message),
        ),
      ]
    : [];
  const words = make("div", {}, make("p", { said: key, values: error?.values }), ...detail);
  const notice = make("div", { classes: "notice", role: "alert", "data-code": error?.code ?? "unknown" }, words);
  notice.append(sign("×", "close", () => notice.remove()));
  region.append(notice);
  while (region.children.length > MOST) region.firstChild.remove();
}

/** Forget what went wrong before. */
export const calmed = () => document.getElementById("notices").replaceChildren();

/** Say something to those who do not see the page. */
export function speakOf(words) {
  document.getElementById("spoken").textContent = words;
}
