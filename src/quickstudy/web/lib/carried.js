/** Examples as JSON, for the files that are downloaded and for those that a folder comes with. */

/** @typedef {import("./kept.js").Example} Example */

/** @type {Record<string, any>} */
const KINDS = { Uint8Array, Int16Array, Int32Array, BigInt64Array, Float32Array, Float64Array };
const PART = 0x8000;

/** @param {any} data */
function inText(data) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += PART) text += String.fromCharCode(...bytes.subarray(at, at + PART));
  return btoa(text);
}

/** @param {string} kind @param {string} text */
function outOfText(kind, text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  return new KINDS[kind](bytes.buffer);
}

/**
 * @param {Example[]} examples
 * @param {string[]} names of the classes, in the order of their numbers
 */
export function toJson(examples, names) {
  const told = examples.map(({ id, label, leaves, picture, text }) => ({
    id,
    label,
    picture,
    text,
    leaves: Object.fromEntries(
      Object.entries(leaves).map(([name, { data, shape }]) => [
        name,
        { kind: data.constructor.name, shape, data: inText(data) },
      ]),
    ),
  }));
  return { version: 1, names, examples: told };
}

/**
 * The inverse; embeddings are still to be made.
 * @param {any} told
 * @returns {Omit<Example, "embedding">[]}
 */
export function fromJson(told) {
  return told.examples.map((/** @type {any} */ example) => ({
    ...example,
    leaves: Object.fromEntries(
      Object.entries(example.leaves).map(([name, { kind, shape, data }]) => [
        name,
        { data: outOfText(kind, data), shape },
      ]),
    ),
  }));
}
