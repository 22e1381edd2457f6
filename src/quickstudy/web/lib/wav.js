/** WAV files of plain samples, as Python reads them: exactly, and at their own rate. */
import { Refused } from "./refused.js";

/** @typedef {{samples: Float32Array, rate: number, channels: number}} Sound one channel, the mean of `channels` */

const PLAIN = 1;
const FLOATING = 3;
const EXTENDED = 0xfffe;

/**
 * The samples of a WAV file; null for what is none, or is packed in a way that is not plain.
 * @param {ArrayBuffer} file
 * @param {string} name
 * @returns {Sound | null}
 */
export function wavIn(file, name) {
  const view = new DataView(file);
  const word = (/** @type {number} */ at) => String.fromCharCode(...new Uint8Array(file, at, 4));
  if (file.byteLength < 12 || word(0) !== "RIFF" || word(8) !== "WAVE") return null;
  /** @type {{kind: number, channels: number, rate: number, bits: number} | null} */
  let form = null;
  for (let at = 12; at + 8 <= file.byteLength;) {
    const [chunk, size, start] = [word(at), view.getUint32(at + 4, true), at + 8];
    if (chunk === "fmt ") form = formOf(view, start);
    if (chunk === "data" && form) {
      const read = readerOf(form);
      if (!read) return null;
      const width = (form.bits / 8) * form.channels;
      const there = Math.floor(Math.min(size, file.byteLength - start) / width);
      if (size < 0x7fff0000 && size > file.byteLength - start + 1) {
        const told = Math.floor(size / width);
        throw new Refused(
          "unreadable",
          `${name} is truncated: it announces ${told} samples and holds ${there}. Replace or remove it.`,
        );
      }
      return { samples: mixed(view, start, there, form, read), rate: form.rate, channels: form.channels };
    }
    at = start + size + (size % 2);
  }
  throw new Refused("unreadable", `${name} cannot be read as a recording (it holds no samples). Replace or remove it.`);
}

/** @param {DataView} view @param {number} at */
function formOf(view, at) {
  const kind = view.getUint16(at, true);
  return {
    kind: kind === EXTENDED ? view.getUint16(at + 24, true) : kind,
    channels: view.getUint16(at + 2, true),
    rate: view.getUint32(at + 4, true),
    bits: view.getUint16(at + 14, true),
  };
}

/**
 * What reads one sample, in [-1, 1].
 * @param {{kind: number, bits: number}} form
 * @returns {((view: DataView, at: number) => number) | null}
 */
function readerOf({ kind, bits }) {
  if (kind === PLAIN) {
    if (bits === 8) return (view, at) => (view.getUint8(at) - 128) / 128;
    if (bits === 16) return (view, at) => view.getInt16(at, true) / 32768;
    if (bits === 24) return (view, at) => (view.getUint16(at, true) + view.getInt8(at + 2) * 65536) / 8388608;
    if (bits === 32) return (view, at) => Math.fround(view.getInt32(at, true)) / 2147483648;
  }
  if (kind === FLOATING && bits === 32) return (view, at) => view.getFloat32(at, true);
  if (kind === FLOATING && bits === 64) return (view, at) => Math.fround(view.getFloat64(at, true));
  return null;
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {number} count
 * @param {{channels: number, bits: number}} form
 * @param {(view: DataView, at: number) => number} read
 */
function mixed(view, start, count, { channels, bits }, read) {
  const samples = new Float32Array(count);
  const step = bits / 8;
  for (let i = 0, at = start; i < count; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++, at += step) sum = Math.fround(sum + read(view, at));
    samples[i] = sum / channels;
  }
  return samples;
}
