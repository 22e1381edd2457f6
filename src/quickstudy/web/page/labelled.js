/** A whole table at once, of which one column says the label of each row. */

import { button, calm, field, make } from "./dom.js";
import { complain } from "./notices.js";
import { cells, rows } from "./tools/rows.js";

/** act(change): runs a change and shows what it leaves. */
export function labelled({ brain, act }) {
  const area = make("textarea", { rows: 4, label: "labelled.label", prompt: "labelled.prompt", spellcheck: false });
  const column = make("select", {});
  const names = () => {
    const [first = []] = cells(area.value);
    const before = column.value;
    column.replaceChildren(...first.map((name) => make("option", { value: name }, name)));
    column.value = first.includes(before) ? before : (first.at(-1) ?? "");
  };
  area.addEventListener("input", calm(150, names));
  const add = async () => {
    names();
    try {
      const groups = new Map();
      for (const { [column.value]: label, ...row } of rows(area.value)) {
        if (label != null) groups.set(label, [...(groups.get(label) ?? []), row]);
      }
      if (!groups.size) return area.focus();
      for (const [label, records] of groups) if (!(await act(() => brain.add(label, records)))) return undefined;
      area.value = "";
      node.open = false;
    } catch (error) {
      complain(error);
    }
    return undefined;
  };
  const node = make(
    "details",
    { classes: ["card", "labelled"] },
    make("summary", { said: "labelled.title" }),
    area,
    field("labelled.column", column),
    button("labelled.add", add, { classes: "main" }),
  );
  return node;
}
