/** The brain of a page whose model lies beside it: it learns in the browser. */
import { fromJson, toJson } from "./carried.js";
import { graphs, runtime } from "./graphs.js";
import { keeping } from "./kept.js";
import { learner } from "./learner.js";
import { reader } from "./read.js";
import { Refused } from "./refused.js";
import { zip } from "./zip.js";

const EXAMPLES = "examples.json";
const PAGE = /^(?:lib|page|words|ort)\/|^(?:index\.html|style\.css|files\.json)$/;

/**
 * The model in a folder.
 * @param {string} base its address
 */
export async function open(base) {
  const load = (/** @type {string} */ file) => fetched(new URL(file, base).href, file);
  const json = async (/** @type {string} */ file) => JSON.parse(new TextDecoder().decode(await load(file)));
  const [manifest, { files }] = await Promise.all([json("model.json"), json("files.json")]);
  if (manifest.version !== 1) {
    throw new Refused(
      "no_reader",
      `model.json is of version ${manifest.version}, and this page reads version 1. Export the model anew.`,
    );
  }
  const read = reader(manifest.reading);
  const place = new URL(base).pathname;
  const [ort, kept] = await Promise.all([runtime(base), keeping(`quickstudy ${place} ${manifest.made}`)]);
  const running = graphs(manifest, ort, load);
  const first = !kept.found && files.includes(EXAMPLES) ? fromJson(await json(EXAMPLES)) : [];
  const found = await learner({
    manifest,
    graphs: running,
    read,
    kept,
    first,
    downloads: ["onnx", "web"],
    /** The folder as it is served, or its graphs alone, with the examples that were learned here. */
    async pack(what, examples, names) {
      const wanted = files.filter(
        (/** @type {string} */ file) => file !== EXAMPLES && (what === "web" || !PAGE.test(file)),
      );
      const parts = [];
      for (const file of wanted) parts.push({ name: file, bytes: new Uint8Array(await load(file)) });
      const put = (/** @type {string} */ name, /** @type {any} */ held) => {
        const bytes = new TextEncoder().encode(JSON.stringify(held));
        const at = parts.findIndex((part) => part.name === name);
        if (at < 0) parts.push({ name, bytes });
        else parts[at] = { name, bytes };
      };
      if (examples.length) put(EXAMPLES, toJson(examples, names));
      if (what === "web") put("files.json", { files: parts.map((part) => part.name) });
      return zip(parts);
    },
  });
  const wanted = ["embed", "head", "model"].filter((name) => manifest.graphs[name]);
  for (const name of wanted) running.warm(name).catch(() => {}); // what is wrong is told when it is asked
  return found;
}

/** @param {string} address @param {string} file */
async function fetched(address, file) {
  let answer;
  try {
    answer = await fetch(address);
  } catch (error) {
    throw new Refused("offline", `${file} cannot be loaded (${error}). Is the server still running?`);
  }
  if (!answer.ok)
    throw new Refused(
      "offline",
      `${file} cannot be loaded (${answer.status} ${answer.statusText}). Copy the whole folder.`,
    );
  return answer.arrayBuffer();
}
