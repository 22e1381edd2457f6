/** How good the model thinks it is, in plain words. */

import { make } from "./dom.js";
import { percent } from "./words.js";

const NEARLY = 0.995;

/** What an estimate {mean, low, high} or {why} of a state says. */
export function estimate(state) {
  const found = state.estimate;
  if (!found || found.mean == null) {
    const why = found?.why
      ? make("details", {}, make("summary", { said: "error.details" }), make("p", { lang: "en" }, found.why))
      : null;
    return make("div", { classes: "small" }, make("p", { said: "estimate.unknown" }), why);
  }
  const hundred = (share) => Math.round(100 * share);
  const values = { mean: Math.min(99, hundred(found.mean)), low: hundred(found.low), high: hundred(found.high) };
  const track = make(
    "span",
    { classes: "range", "aria-hidden": "true" },
    make("i", { style: { left: `${100 * found.low}%`, right: `${100 - 100 * found.high}%` } }),
    make("b", { style: { left: `${100 * found.mean}%` } }),
  );
  const doubt = found.note
    ? make("details", {}, make("summary", { said: "estimate.doubt" }), make("p", { lang: "en" }, found.note))
    : null;
  return make(
    "div",
    { classes: "estimate", "data-mean": percent(found.mean) },
    make("p", { said: found.mean >= NEARLY ? "estimate.nearly" : "estimate.said", values }),
    track,
    doubt,
  );
}
