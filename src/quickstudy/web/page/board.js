/** The boxes of all classes, in the order in which they came; where answers are numbers, one box for all examples. */

import { box } from "./box.js";
import { button, field, make } from "./dom.js";
import { complain, speakOf } from "./notices.js";
import { labelled } from "./labelled.js";
import { change } from "./work.js";
import { text } from "./words.js";

const FIRST = 2; // boxes that a new model begins with

/** brain, about: what is driven. changed(state): called with what a change has left. */
export function board({ brain, about, changed }) {
  const classes = about.target !== "numbers" && about.format.kind !== "series";
  const value = make("input", { inputmode: "decimal", id: "value", autocomplete: "off" });
  const list = make("div", { classes: "boxes" });
  let boxes = [];
  let state = { names: [], examples: [] };

  const act = async (done) => {
    const now = await change(done);
    if (now) changed(now);
    return now;
  };
  const acts = {
    async give(one, records) {
      if (!records.length) return undefined;
      const label = classes ? one.name : valued();
      if (label === undefined) return undefined;
      const now = await act(() => brain.add(label, records));
      if (now) speakOf(text("examples.added", { count: records.length, name: String(label ?? "") }));
      return now;
    },
    async rename(one, wanted) {
      if (boxes.some((other) => other.name === wanted)) {
        complain({ code: "name_taken" });
        return false;
      }
      const before = one.name;
      one.offered = false;
      if (one.examples.length) {
        one.name = wanted;
        if (await act(() => brain.rename(before, wanted))) return true;
        one.name = before;
        return false;
      }
      one.name = wanted;
      return true;
    },
    async remove(one) {
      if (one.examples.length && !(await act(() => brain.forgetClass(one.name)))) return;
      boxes = boxes.filter((other) => other !== one);
      show(state);
      (boxes.at(-1)?.node.querySelector(".name") ?? more)?.focus();
    },
    forget: (id) => act(() => brain.forget(id)),
  };

  /** The number of an example, as it is typed; null for a series, which is its own labels; undefined where there is none. */
  function valued() {
    if (about.target !== "numbers" || about.format.kind === "series") return null;
    const typed = value.value.trim().replace(",", ".");
    if (typed && Number.isFinite(Number(typed))) return Number(typed);
    complain({ code: "no_value" });
    value.focus();
    return undefined;
  }

  const fresh = (name) => box({ name, about, acts });
  const free = () => {
    for (let i = 1; ; i += 1) {
      const name = text("class.new", { number: i });
      if (!boxes.some((one) => one.name === name)) return name;
    }
  };
  const add = (focus) => {
    boxes.push(fresh(free()));
    show(state);
    if (focus) boxes.at(-1).focus();
  };
  const more = classes && about.learns !== false ? button("class.add", () => add(true), { classes: "more" }) : null;

  /** Show a state: a box for each class that it has, and those that have no example yet. */
  function show(now) {
    state = now;
    const known = [...new Set([...now.examples.map((one) => one.label), ...now.names])];
    if (classes) {
      const strange = known.filter((name) => !boxes.some((one) => one.name === name));
      const vacant = (one) => (one.offered || one.examples.length > 0) && !known.includes(one.name);
      boxes = boxes.map((one) => (vacant(one) && strange.length ? fresh(strange.shift()) : one));
      boxes.push(...strange.map(fresh));
      while (about.learns !== false && boxes.length < FIRST)
        boxes.push(Object.assign(fresh(free()), { offered: true }));
    } else if (!boxes.length) boxes = [box({ name: null, about, acts, above: numbers })];
    boxes.forEach((one, i) => {
      const own = classes ? now.examples.filter((example) => example.label === one.name) : now.examples;
      one.offered ||= one.examples.length > 0 && !own.length; // it may give way to a class that comes instead
      one.show(own, i, about.learns === false || (own.length > 0 && !brain.rename));
    });
    const nodes = boxes.map((one) => one.node);
    for (const node of [...list.children]) if (!nodes.includes(node)) node.remove();
    nodes.forEach((node, i) => {
      if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null);
    });
  }

  const numbers =
    about.target === "numbers" && about.format.kind !== "series"
      ? field("value.label", value, { classes: ["field", "value"] })
      : null;
  const whole = about.format.kind === "table" && about.learns !== false ? labelled({ brain, act }) : null;
  const node = make(
    "section",
    { classes: "board", "aria-labelledby": "board-title" },
    make("h2", { id: "board-title", said: about.learns === false ? "board.title.fixed" : "board.title" }),
    whole,
    list,
    more,
  );
  return {
    node,
    show,
    placeOf: (name) => boxes.findIndex((one) => one.name === name),
    clear: () => boxes.forEach((one) => one.clear()),
  };
}
