/** Files that are chosen, dropped, or pasted. */

import { button, make } from "../dom.js";

const ACCEPTED = {
  image: "image/*",
  sound: "audio/*,.wav,.flac,.ogg,.mp3",
  text: ".txt,text/plain",
  table: ".csv,.tsv,text/csv",
};

/** read(files): records of files; give(records). */
export function files({ kind, read, give, live }) {
  const input = make("input", {
    type: "file",
    hidden: true,
    multiple: true,
    accept: ACCEPTED[kind] ?? null,
    label: "files.choose",
  });
  input.addEventListener("change", async () => {
    const chosen = [...input.files];
    input.value = "";
    if (chosen.length) await give(await read(chosen));
  });
  const node = make("div", { classes: "files" });
  node.append(
    input,
    button("files.choose", () => input.click(), { classes: live ? [] : "main" }),
    make("p", { classes: "small", said: "files.drop" }),
  );
  return { node, clear() {} };
}

/** Let a part of the page take files that are dropped on it or pasted into it. */
export function droppable(node, take) {
  const holds = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  for (const name of ["dragenter", "dragover"]) {
    node.addEventListener(name, (event) => {
      if (!holds(event)) return;
      event.preventDefault();
      node.classList.add("over");
    });
  }
  node.addEventListener("dragleave", (event) => {
    if (!node.contains(event.relatedTarget)) node.classList.remove("over");
  });
  node.addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    node.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  node.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (!pasted.length) return;
    event.preventDefault();
    take(pasted);
  });
}

/** Records of files: of texts their lines, of tables their rows, of all else the files themselves. */
export async function recordsOf(kind, chosen, rows) {
  if (kind !== "text" && kind !== "table") return chosen;
  const contents = await Promise.all(chosen.map((file) => file.text()));
  return contents.flatMap((content) => (kind === "text" ? linesOf(content) : rows(content)));
}

/** The lines of a text that hold something. */
export const linesOf = (content) =>
  content
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean);
