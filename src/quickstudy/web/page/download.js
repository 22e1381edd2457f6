/** What can be taken home. */

import { button, make } from "./dom.js";
import { menu } from "./menu.js";
import { change } from "./work.js";

/** The menu of downloads; null where there are none. */
export function downloads({ brain, about }) {
  const offered = about.downloads ?? [];
  if (!offered.length) return null;
  const entry = (what, close) => {
    const fetched = async () => {
      close();
      const blob = await change(() => brain.download(what));
      if (!blob) return;
      const link = make("a", {
        href: URL.createObjectURL(blob),
        download: `${(about.name ?? "model").replace(/[^\p{L}\p{N}-]+/gu, "-")}-${what}.zip`,
      });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    };
    return make(
      "div",
      { classes: "entry" },
      button(`download.${what}`, fetched, { "data-download": what }),
      make("p", { classes: "small", said: `download.${what}.about` }),
    );
  };
  return menu("download", (close) => offered.map((what) => entry(what, close)));
}
