/** A sheet to draw on: by pen, finger, mouse, or keys. What it gives is a PNG, black on white. */

import { button, calm, make } from "../dom.js";
import { speakOf } from "../notices.js";
import { text } from "../words.js";

const SIDE = 280;
const LINE = 9;
const STEP = 10;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * give(records): the drawing as a Blob, when it is added, or, where `live`, with each line; [] where it is cleared. What
 * it gives is undefined where the drawing was not taken, which then stays.
 */
export function draw({ give, live }) {
  const canvas = make("canvas", {
    width: SIDE,
    height: SIDE,
    tabindex: 0,
    role: "application",
    label: "draw.sheet",
    "aria-keyshortcuts": "Space Enter Delete",
  });
  const cross = make("span", { classes: "cross", "aria-hidden": "true" });
  const here = make("span", { classes: "here", said: "draw.here", "aria-hidden": "true" });
  const ink = canvas.getContext("2d");
  let at = [SIDE / 2, SIDE / 2];
  let down = false; // whether the keys' pen is on the paper
  let drawn = false;
  let turn = 0;

  const paper = () => {
    ink.fillStyle = "white";
    ink.fillRect(0, 0, SIDE, SIDE);
    Object.assign(ink, { strokeStyle: "black", lineWidth: LINE, lineCap: "round", lineJoin: "round" });
  };
  const blob = () => new Promise((done) => canvas.toBlob(done, "image/png"));
  const ask = async () => {
    if (!drawn) return give([]);
    const mine = (turn += 1);
    const picture = await blob();
    if (mine === turn) give([picture]);
  };
  const soon = live ? calm(90, ask) : () => {};
  const line = (from, to) => {
    drawn = here.hidden = true;
    ink.beginPath();
    ink.moveTo(...from);
    ink.lineTo(...to);
    ink.stroke();
    soon();
  };
  const clear = () => {
    paper();
    drawn = down = false;
    turn += 1;
    at = [SIDE / 2, SIDE / 2];
    place();
    if (live) give([]);
  };
  const add = async () => {
    if (!drawn) return canvas.focus();
    const picture = await blob();
    const before = ink.getImageData(0, 0, SIDE, SIDE);
    clear();
    if ((await give([picture])) !== undefined || drawn) return undefined;
    ink.putImageData(before, 0, 0); // nobody took it
    drawn = here.hidden = true;
    return undefined;
  };
  const place = () => {
    cross.style.setProperty("left", `${(100 * at[0]) / SIDE}%`);
    cross.style.setProperty("top", `${(100 * at[1]) / SIDE}%`);
    cross.classList.toggle("down", down);
    here.hidden = drawn;
  };
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  };

  let pen = null; // the pointer that draws, and where it was
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || pen) return;
    canvas.setPointerCapture(event.pointerId);
    pen = { id: event.pointerId, last: where(event) };
    line(pen.last, pen.last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (pen?.id !== event.pointerId) return;
    for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
      const next = where(one);
      line(pen.last, next);
      pen.last = next;
    }
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    canvas.addEventListener(name, (event) => {
      if (pen?.id === event.pointerId) pen = null;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = MOVES[event.key];
    if (move) {
      const step = event.shiftKey ? 3 * STEP : STEP;
      const next = at.map((one, i) => Math.min(SIDE - LINE, Math.max(LINE, one + step * move[i])));
      if (down) line(at, next);
      at = next;
    } else if (event.key === " ") {
      down = !down;
      if (down) line(at, at);
      speakOf(text(down ? "draw.down" : "draw.up"));
    } else if (event.key === "Enter" && !live) add();
    else if (event.key === "Delete" || event.key === "Backspace") clear();
    else return;
    event.preventDefault();
    place();
  });

  paper();
  place();
  const buttons = make(
    "div",
    { classes: "buttons" },
    live ? null : button("add", add, { classes: "main" }),
    button("draw.clear", clear),
  );
  const keys = make("p", { classes: ["keys", "small"], said: live ? "draw.keys.live" : "draw.keys" });
  const node = make(
    "div",
    { classes: "draw" },
    make("div", { classes: "sheet" }, canvas, cross, here),
    make("div", { classes: "beside" }, buttons, keys),
  );
  return { node, clear };
}
