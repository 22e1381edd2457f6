/** Records as the tensors that a format stores, as `reading` of the manifest says. */
import { pictureOf, pixelsOf } from "./bitmap.js";
import { storedPixels } from "./image.js";
import { soundOf } from "./listen.js";
import { Refused } from "./refused.js";
import { seriesOf, windows } from "./series.js";
import { clipOf, loudest, segments, storedSamples } from "./sound.js";
import { tableReader } from "./table.js";
import { textReader } from "./text.js";

/** @typedef {{data: any, shape: number[]}} Leaf an array with its shape, of which the first axis is that of examples */

/**
 * Records as they were read. owners: which record each example is of. faces: what people see of each record.
 * @typedef {object} Read
 * @property {Record<string, Leaf>} leaves
 * @property {number[]} owners
 * @property {{picture?: string, text?: string}[]} faces
 * @property {string[]} notices
 */

/** @typedef {(records: any[], asked?: boolean) => Promise<Read>} Reader asked: whether records are asked about */

const SHOWN = 200; // characters of a record

/**
 * What reads records as a manifest says; Refused for a kind of format that the page does not know.
 * @param {any} reading
 * @returns {Reader}
 */
export function reader(reading) {
  switch (reading.kind) {
    case "image":
      return images(reading);
    case "sound":
      return sounds(reading);
    case "text":
      return plainly(textReader(reading), (text) => text);
    case "table":
      return plainly(tableReader(reading), row);
    case "series":
      return series(reading);
    case "array":
      return arrays(reading);
    default:
      throw new Refused(
        "no_reader",
        `The page cannot read records of the kind ${reading.kind}. Ask the model from Python.`,
      );
  }
}

/** @param {any} record @param {number} i @param {string} what */
const named = (record, i, what) => record?.name || `${what} ${i + 1}`;
/** @param {string} text */
const short = (text) => (text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}…`);
/** @param {any} record */
const row = (record) =>
  Array.isArray(record)
    ? record.join(", ")
    : Object.entries(record)
        .map(([name, cell]) => `${name} ${cell ?? ""}`.trim())
        .join(", ");
/** @param {any[]} records */
const each = (records) => records.map((_, i) => i);

/** @param {any} record @param {string} name */
function file(record, name) {
  if (record instanceof Blob) return record;
  throw new Refused("no_file", `${name} is no file but ${typeof record}. Give files.`);
}

/** @param {import("./image.js").ImageReading} reading @returns {Reader} */
function images(reading) {
  const { size, channels } = reading;
  const count = channels * size * size;
  return async (records) => {
    const data = new Uint8Array(records.length * count);
    const faces = [];
    let blank = 0;
    for (const [i, record] of records.entries()) {
      const name = named(record, i, "Image");
      const stored = storedPixels(await pixelsOf(file(record, name), name), reading, name);
      blank += Number(stored.every((value, at) => value === stored[at - (at % (size * size))]));
      data.set(stored, i * count);
      faces.push({ picture: pictureOf(stored, reading) });
    }
    const leaves = { x: { data, shape: [records.length, channels, size, size] } };
    const notices = blank ? [`${blank} of ${records.length} images are blank.`] : [];
    return { leaves, owners: each(records), faces, notices };
  };
}

/** @param {import("./sound.js").SoundReading} reading @returns {Reader} */
function sounds(reading) {
  const { samples: size, hop, rate } = reading;
  return async (records, asked = false) => {
    const [pieces, owners, faces] = [/** @type {Float32Array[]} */ ([]), /** @type {number[]} */ ([]), []];
    for (const [i, record] of records.entries()) {
      const name = named(record, i, "Recording");
      const clip = clipOf(await soundOf(file(record, name), name, rate), reading, name);
      for (const piece of asked ? segments(clip, size) : [loudest(clip, size, hop)]) {
        pieces.push(piece);
        owners.push(i);
      }
      faces.push({ text: `${name} (${(clip.length / rate).toFixed(1)} s)` });
    }
    return { leaves: storedSamples(pieces, size), owners, faces, notices: [] };
  };
}

/**
 * @param {(records: any[]) => {leaves: Record<string, Leaf>, notices: string[]}} read
 * @param {(record: any) => string} face
 * @returns {Reader}
 */
function plainly(read, face) {
  return async (records) => {
    const found = read(records);
    return { ...found, owners: each(records), faces: records.map((record) => ({ text: short(face(record)) })) };
  };
}

/** What comes before the point that follows each series. @param {{window: number}} reading @returns {Reader} */
function series({ window }) {
  return async (records) => {
    const data = new Float64Array(records.length * window);
    records.forEach((record, i) => {
      const values = seriesOf(record);
      data.set(windows(values, [values.length], window).data, i * window);
    });
    const faces = records.map((record) => ({ text: short(record.join(", ")) }));
    return { leaves: { x: { data, shape: [records.length, window] } }, owners: each(records), faces, notices: [] };
  };
}

/** @param {{shape: number[], ids: boolean}} reading @returns {Reader} */
function arrays({ shape, ids }) {
  const count = shape.reduce((product, side) => product * side, 1);
  return async (records) => {
    const data = ids ? new BigInt64Array(records.length * count) : new Float32Array(records.length * count);
    records.forEach((record, i) => {
      const flat = [record].flat(Infinity);
      if (flat.length !== count) {
        throw new Refused(
          "no_row",
          `Record ${i} holds ${flat.length} numbers, expected ${count} (${shape.join(" x ")}).`,
        );
      }
      const bad = flat.find(
        (value) =>
          typeof value !== "number" || !Number.isFinite(value) || (ids && !(Number.isInteger(value) && value >= 0)),
      );
      if (bad !== undefined) {
        const wanted = ids ? "a whole number from 0" : "a number";
        throw new Refused("no_number", `Record ${i} holds ${JSON.stringify(bad)}, which is not ${wanted}. Correct it.`);
      }
      flat.forEach((value, j) => (data[i * count + j] = ids ? BigInt(value) : value));
    });
    const faces = records.map((record) => ({ text: short([record].flat(Infinity).join(", ")) }));
    return { leaves: { x: { data, shape: [records.length, ...shape] } }, owners: each(records), faces, notices: [] };
  };
}
