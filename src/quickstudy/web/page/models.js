/** The models that a server keeps: opened, begun, deleted. */

import { button, make, sign } from "./dom.js";
import { menu } from "./menu.js";
import { complain } from "./notices.js";
import { current, text } from "./words.js";

const when = (made) =>
  new Intl.DateTimeFormat(current(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(made));

/** models: of a brain, {list, make, open, remove, starts, current}. opened(): called when another model is there. */
export function models({ models: kept, opened }) {
  const act = (done, close) => async () => {
    close();
    try {
      await done();
      await opened();
    } catch (error) {
      complain(error);
    }
  };
  const fill = async (close) => {
    try {
      const found = await kept.list();
      const rows = found.map((one) => {
        const open = make(
          "button",
          {
            type: "button",
            "aria-current": one.id === kept.current() && "true",
            "data-model": one.id,
            on: { click: act(() => kept.open(one.id), close) },
          },
          make("span", {}, one.name || one.start || one.id),
          one.made ? make("span", { classes: "small" }, when(one.made)) : null,
        );
        const remove = one.fixed
          ? null
          : sign(
              "×",
              "models.delete",
              () =>
                confirm(text("models.sure", { name: one.name || one.start })) &&
                act(() => kept.remove(one.id), close)(),
              { values: { name: one.name || one.start } },
            );
        return make("div", { classes: ["entry", "kept"] }, open, remove);
      });
      const starts = kept.starts();
      const begin = starts.map((start) =>
        button(
          starts.length > 1 ? "models.new.from" : "models.new",
          act(() => kept.make(start), close),
          { values: { name: start }, "data-start": start },
        ),
      );
      return [...rows, make("div", { classes: "entry" }, ...begin)];
    } catch (error) {
      complain(error);
      return [];
    }
  };
  return menu("models", fill, { id: "models" });
}
