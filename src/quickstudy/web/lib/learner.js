/** What learns and answers in a page: examples are embedded once; the head adapts to them with each question. */
import { classAnswers, estimateOf, numberAnswers, rateAt } from "./answers.js";
import { forecasts } from "./forecast.js";
import { numberIn } from "./numbers.js";
import { nearest } from "./nearest.js";
import { Refused } from "./refused.js";
import { stacked, taken } from "./stack.js";
import { freshId, MOST, support } from "./support.js";

/** @typedef {import("./kept.js").Example} Example */
/** @typedef {import("./read.js").Leaf} Leaf */
/** @typedef {import("./read.js").Read} Read */

const NEAREST = 3;

/**
 * @param {object} given
 * @param {any} given.manifest
 * @param {{run: (name: string, leaves: Record<string, Leaf>) => Promise<Record<string, Leaf>>}} given.graphs
 * @param {import("./read.js").Reader} given.read
 * @param {import("./kept.js").Kept} given.kept
 * @param {Omit<Example, "embedding">[]} [given.first] examples that the model came with
 * @param {(what: string, examples: Example[], names: string[]) => Promise<Blob>} given.pack
 * @param {string[]} given.downloads
 */
export async function learner({ manifest, graphs, read, kept, first = [], pack, downloads }) {
  const learns = Boolean(manifest.graphs.embed && manifest.graphs.head);
  const numbers = manifest.says === "numbers";
  if (!numbers && !["classes", "tags"].includes(manifest.says)) {
    throw new Refused(
      "no_reader",
      `The page cannot show answers that are ${manifest.says}. Ask the model from Python.`,
    );
  }
  const held = support(kept, learns && !kept.found ? await embedded(first) : []);
  /** @type {{of: string, said: any} | null} */
  let estimate = null;
  /** @type {Promise<any>} */
  let before = Promise.resolve();

  /** @param {Record<string, Leaf>} leaves @returns {Promise<Leaf>} */
  async function embedding(leaves) {
    return (await graphs.run("embed", leaves)).embedding;
  }

  /** @param {Omit<Example, "embedding">[]} given @returns {Promise<Example[]>} */
  async function embedded(given) {
    if (!given.length) return [];
    const leaves = Object.fromEntries(
      Object.keys(given[0].leaves).map((name) => [name, stacked(given.map((one) => one.leaves[name]))]),
    );
    const { data, shape } = await embedding(leaves);
    const size = data.length / shape[0];
    return given.map((one, i) => ({ ...one, embedding: data.slice(i * size, (i + 1) * size) }));
  }

  /** The classes, in the order in which they were first shown. @param {Example[]} examples @returns {string[]} */
  const namesOf = (examples) => (numbers ? [] : [...new Set(examples.map(({ label }) => label))]);

  /** Whether the graph of the model itself answers: there is nothing yet that was learned here. */
  const asItCame = () => Boolean(manifest.graphs.model) && !held.examples().length;

  /** @param {Example[]} examples */
  function requireEnough(examples) {
    const found = numbers ? examples.length : namesOf(examples).length;
    if (found >= (numbers ? 1 : 2)) return;
    const message = numbers
      ? "The model knows no example yet. Add one."
      : `The model knows ${found} of the two classes that it takes to tell them apart. Add examples.`;
    throw new Refused("too_few", message);
  }

  /** What the head says of embeddings. @param {Example[]} examples @param {Leaf} asked */
  async function headed(examples, asked) {
    const names = namesOf(examples);
    const known = stacked(examples.map((one) => ({ data: one.embedding, shape: [one.embedding.length] })));
    const labels = numbers
      ? stacked(examples.map(({ label }) => ({ data: Float32Array.from([label].flat()), shape: shapeOf(label) })))
      : { data: BigInt64Array.from(examples, ({ label }) => BigInt(names.indexOf(label))), shape: [examples.length] };
    return graphs.run("head", { support_embedding: known, labels, embedding: asked });
  }

  /** @param {any} label @returns {number[]} */
  function shapeOf(label) {
    const shape = manifest.graphs.head.inputs.find((/** @type {any} */ one) => one.name === "labels").shape.slice(1);
    const count = [label].flat().length;
    return shape.length ? [count] : [];
  }

  /** @param {Read} found @param {any} options */
  async function answers(found, { steps = 1 }) {
    const examples = held.examples();
    if (!learns || asItCame()) {
      if (manifest.reading.kind === "series") return forecasts(graphs, found, steps, manifest.trust?.intervals);
      const outputs = await graphs.run("model", found.leaves);
      if (numbers) return numberAnswers(outputs, found.owners, manifest.trust?.intervals);
      const { rates = [], known_least: least = {} } = manifest.trust ?? {};
      return classAnswers(
        outputs,
        manifest.names,
        found.owners,
        least[String(rates[rateAt(rates)])] ?? null,
        manifest.says === "tags",
      );
    }
    requireEnough(examples);
    const asked = await embedding(found.leaves);
    const outputs = await headed(examples, asked);
    if (numbers) return numberAnswers(outputs, found.owners);
    const believed = !outputs.trusted || Boolean(outputs.trusted.data[0]);
    const at = rateAt(manifest.trust?.rates ?? []);
    const least = outputs.known_least && at >= 0 ? Number(outputs.known_least.data[at]) : null;
    const said = classAnswers(
      believed ? outputs : { probabilities: outputs.probabilities },
      namesOf(examples),
      found.owners,
      least,
    );
    const near = nearest(asked.data, examples, NEAREST);
    return said.map((one, i) => ({ ...one, nearest: near[found.owners.indexOf(i)] }));
  }

  /** @param {Example[]} examples */
  async function estimated(examples) {
    if (!learns || asItCame()) {
      const told = manifest.trust?.estimate;
      return told
        ? { mean: told.mean, low: told.low, high: told.high, note: told.note }
        : { why: manifest.why_no_trust };
    }
    if (numbers) return { why: "How often it is right is told of classes, and this tells numbers." };
    const of = examples.map(({ id }) => id).join();
    if (estimate?.of !== of) {
      const { embedding: one } = examples[0];
      const outputs = await headed(examples, { data: one, shape: [1, one.length] });
      estimate = { of, said: estimateOf(outputs, manifest.why_no_trust || "Nothing tells how often it is right.") };
    }
    return estimate.said;
  }

  async function state() {
    const examples = held.examples();
    const names = asItCame() ? manifest.names : namesOf(examples);
    /** @type {any} */
    const told = {
      names,
      examples: examples.map(({ id, label, picture, text }) => ({ id, label, picture, text })),
      versions: held.steps(),
    };
    if (asItCame() || names.length > 1 || (numbers && examples.length)) told.estimate = await estimated(examples);
    return told;
  }

  /** One change after another, each of which sees what the last left. @template T @param {() => Promise<T>} act */
  function inTurn(act) {
    const next = before.then(act);
    before = next.catch(() => {});
    return next;
  }

  /** @param {any} label */
  function labelOf(label) {
    if (numbers) {
      const values = [label].flat().map((one) => (typeof one === "string" ? numberIn(one) : one));
      if (values.length && values.every((one) => typeof one === "number" && Number.isFinite(one)))
        return values.length > 1 ? values : values[0];
      throw new Refused(
        "no_value",
        `The value of an example is a number, found ${JSON.stringify(label) ?? "nothing"}. Give one.`,
      );
    }
    const name = String(label ?? "")
      .normalize("NFC")
      .trim();
    if (!name) throw new Refused("no_label", "The class of an example needs a name. Give it one.");
    return name;
  }

  function requireLearning() {
    if (!learns)
      throw new Refused(
        "learns_not",
        "This model was exported without its learner. Export it with --with-adapt to teach it.",
      );
  }

  return {
    about: async () => ({
      name: manifest.name,
      format: manifest.reading,
      target: manifest.says,
      learns,
      downloads,
      units: manifest.units,
      limits: { examples: MOST },
    }),
    state,
    /** @param {any} label @param {any[]} records */
    add: (label, records) =>
      inTurn(async () => {
        requireLearning();
        const called = labelOf(label);
        if (!records.length) return state();
        const found = await read(records);
        const { data, shape } = await embedding(found.leaves);
        const size = data.length / shape[0];
        await held.add(
          found.faces.map((face, i) => ({
            id: freshId(),
            label: called,
            leaves: taken(found.leaves, i),
            embedding: data.slice(i * size, (i + 1) * size),
            ...face,
          })),
        );
        return { ...(await state()), notices: found.notices };
      }),
    /** @param {string} id */
    forget: (id) => inTurn(async () => (await held.forget((one) => one.id === id, `example ${id}`), state())),
    /** @param {string} name */
    forgetClass: (name) =>
      inTurn(async () => (await held.forget((one) => one.label === name, `class ${name}`), state())),
    /** @param {string} name @param {string} wanted */
    rename: (name, wanted) =>
      inTurn(async () => (await held.rename(name, /** @type {string} */ (labelOf(wanted))), state())),
    undo: () => inTurn(async () => (await held.undo(), state())),
    /** @param {any[]} records @param {{steps?: number}} [options] */
    async ask(records, options = {}) {
      if (!records.length) return [];
      return answers(await read(records, true), options);
    },
    /** @param {string} what */
    async download(what) {
      if (!downloads.includes(what))
        throw new Refused("no_download", `There is no download ${what}. There are: ${downloads.join(", ")}.`);
      const examples = held.examples();
      return pack(what, examples, namesOf(examples));
    },
  };
}
