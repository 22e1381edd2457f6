/** Which tools a model's format has, and what they are. */

import { make } from "../dom.js";
import { camera } from "./camera.js";
import { draw } from "./draw.js";
import { droppable, files, linesOf, recordsOf } from "./files.js";
import { record } from "./record.js";
import { rows, series } from "./rows.js";
import { typed } from "./typed.js";

/** What the page calls a kind of format; the formats' own names are finer. */
const KINDS = { ink: "image", audio: "sound", tokens: "text", array: "series", numbers: "series" };
const TOOLS = {
  image: ["draw", "files", "camera"],
  sound: ["record", "files"],
  text: ["text", "files"],
  table: ["rows", "files"],
  series: ["numbers"],
};

/** The kind of records that a format has: one of the keys of `TOOLS`; "" for one that has no tool. */
export function kindOf(format) {
  const kind = KINDS[format.kind] ?? format.kind;
  return kind in TOOLS ? kind : "";
}

/** The tools of a format, of which the first is open: photos start with files, drawings with the sheet. */
function namesOf(format) {
  const kind = kindOf(format);
  return kind === "image" && format.channels === 3 ? ["files", "camera", "draw"] : TOOLS[kind];
}

/** Tools for records of a format. give(records): what to do with them. live: again with each change of them. */
export function toolbox({ format, give, live = false, limits = {} }) {
  const kind = kindOf(format);
  const names = namesOf(format);
  const columns = (content) => rows(content, format.names ?? []);
  const read = (chosen) => recordsOf(kind, chosen, columns);
  const whole = (content) => [content.trim().replace(/\s+/g, " ")].filter(Boolean);
  const makers = {
    draw: () => draw({ give, live }),
    files: () => files({ kind, read, give, live }),
    camera: () => camera({ give, live }),
    record: () => record({ give, live, seconds: limits.seconds ?? undefined }),
    text: () => typed({ words: "text", read: live ? whole : linesOf, give, live }),
    rows: () => typed({ words: "rows", read: columns, give, live }),
    numbers: () => typed({ words: "numbers", read: series, give, live }),
  };
  const place = make("div", { classes: "tool" });
  const tabs = make("div", { classes: "tabs", role: "group", label: "tools" });
  let open = { clear() {} };
  const show = (name) => {
    open.clear();
    open = makers[name]();
    place.replaceChildren(open.node);
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", tab.dataset.tool === name);
  };
  for (const name of names) {
    tabs.append(
      make("button", { type: "button", said: `tool.${name}`, "data-tool": name, on: { click: () => show(name) } }),
    );
  }
  show(names[0]);
  const node = make("div", { classes: "toolbox" }, names.length > 1 ? tabs : null, place);
  return {
    node,
    clear: () => open.clear(),
    takes: (card) => names.includes("files") && droppable(card, async (chosen) => give(await read(chosen))),
  };
}
