/** What the model says, as bars; and which examples are most like what it was asked. */

import { hue } from "./colours.js";
import { make } from "./dom.js";
import { face } from "./example.js";
import { current, percent, text } from "./words.js";

const BARS = 8;
const NEAREST = 5;

/** One answer, whole. placeOf(name): of its class, for its hue. examples: of the state. */
export function answer(said, { placeOf, examples, units = "" }) {
  if (!said.probabilities) return numbers(said, units);
  const refused = said.refused === true;
  const ranked = Object.entries(said.probabilities).sort((a, b) => b[1] - a[1]);
  const top = refused
    ? make("p", { classes: ["top", "none"], said: "answer.none" })
    : make("p", { classes: "top", style: { "--hue": hue(placeOf(said.label)) } }, said.label);
  const bars = ranked.slice(0, BARS).map(([name, share]) => bar(name, share, placeOf(name)));
  const hidden = ranked.length - bars.length;
  return make(
    "div",
    { classes: ["answer", ...(refused ? ["refused"] : [])] },
    top,
    refused ? make("p", { classes: "small", said: "answer.none.why" }) : null,
    make("ul", { classes: "bars", label: "answer.bars" }, ...bars),
    hidden > 0 ? make("p", { classes: "small", said: "answer.more", values: { count: hidden } }) : null,
    said.known == null
      ? null
      : make("p", { classes: ["small", "known"], said: "answer.known", values: { share: percent(said.known) } }),
    nearest(said.nearest ?? [], examples),
  );
}

const bar = (name, share, place) =>
  make(
    "li",
    { style: { "--hue": hue(place) } },
    make("span", { classes: "called" }, name),
    make("span", { classes: "share" }, percent(share)),
    make("span", { classes: "track", "aria-hidden": "true" }, make("i", { style: { width: `${100 * share}%` } })),
  );

function nearest(found, examples) {
  const byId = new Map(examples.map((example) => [example.id, example]));
  const known = found
    .map(({ id }) => byId.get(id))
    .filter(Boolean)
    .slice(0, NEAREST);
  if (!known.length) return null;
  const items = known.map((example) =>
    make("li", {}, face(example), make("span", { classes: "small" }, String(example.label ?? ""))),
  );
  return make(
    "div",
    { classes: "nearest" },
    make("h3", { said: "answer.nearest" }),
    make("ul", { classes: "examples" }, ...items),
  );
}

const figure = (value) =>
  [value]
    .flat()
    .map((one) => new Intl.NumberFormat(current(), { maximumSignificantDigits: 4 }).format(one))
    .join(", ");

function numbers(said, units) {
  const values = { low: figure(said.low ?? []), high: figure(said.high ?? []) };
  return make(
    "div",
    { classes: "answer" },
    make("p", { classes: "top" }, [figure(said.value ?? []), units].filter(Boolean).join(" ")),
    said.low == null ? null : make("p", { classes: "small", said: "answer.between", values }),
  );
}

/** One answer in a line, for those who hear the page and for lists of many. */
export function inWords(said) {
  if (!said.probabilities) return figure(said.value ?? []);
  if (said.refused) return text("answer.none");
  return text("answer.said", { name: said.label, share: percent(said.probabilities[said.label] ?? 0) });
}

/** Many answers, a line each. */
export const list = (answers) =>
  make("ol", { classes: "answers" }, ...answers.map((one) => make("li", {}, inWords(one))));
