/** Recordings as windows of samples, as quickstudy.formats.audio stores them. */
import { toEven } from "./numbers.js";
import { Refused } from "./refused.js";
import { resampled } from "./resample.js";

/** @typedef {import("./wav.js").Sound} Sound */

/**
 * What a manifest says of recordings; `samples`, `frame` and `hop` are counts of samples.
 * @typedef {object} SoundReading
 * @property {number} rate
 * @property {number} samples
 * @property {number} frame
 * @property {number} hop
 * @property {number} trim decibels; 0 cuts nothing
 * @property {"windows" | "refuse"} longer
 */

const FULL = 32768;
const SLACK = 0.01; // by which samples may leave [-1, 1]
const MARGIN = 2; // frames that are kept around what is loud
const QUIET = 1e-3; // of the loudest window's energy, below which a window is silent
const ALIKE = 0.99; // of the largest energy that counts as the largest

/**
 * A recording at the wanted rate, checked and trimmed.
 * @param {Sound} sound
 * @param {SoundReading} reading
 * @param {string} name
 */
export function clipOf(sound, { rate, frame, hop, trim, longer, samples: size }, name) {
  const bad = sound.samples.reduce((count, value) => count + Number(!Number.isFinite(value)), 0);
  if (bad)
    throw new Refused("unreadable", `${name} holds NaN or infinite values in ${bad} samples. Replace or remove it.`);
  let samples = resampled(sound.samples, sound.rate, rate);
  if (!samples.length) throw new Refused("empty", `${name} holds no sound at all. Replace or remove it.`);
  if (samples.length < frame) {
    const [lasts, one] = [samples.length / rate, frame / rate].map((seconds) => Number(seconds.toPrecision(3)));
    throw new Refused("too_short", `${name} lasts ${lasts} s, and one frame is ${one} s. Give longer recordings.`);
  }
  if ([sound.samples, samples].some((x) => reach(x) < 1 / FULL)) {
    throw new Refused("silent", `${name} is silent: there is nothing to hear in it. Record it again, or remove it.`);
  }
  const peak = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (peak > 1 + SLACK) samples = samples.map((value) => value / peak);
  if (trim) samples = trimmed(samples, trim, frame, hop);
  if (longer === "refuse" && samples.length > size) {
    const [lasts, window] = [samples.length / rate, size / rate].map((seconds) => Number(seconds.toPrecision(3)));
    throw new Refused(
      "too_long",
      `${name} lasts ${lasts} s, and the window is ${window} s. Cut it where nobody speaks.`,
    );
  }
  return samples;
}

/** @param {Float32Array} x */
function reach(x) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of x) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high - low;
}

/** The energy before each sample, and in all. @param {Float32Array} samples */
function energies(samples) {
  const sums = new Float64Array(samples.length + 1);
  for (let i = 0; i < samples.length; i++) sums[i + 1] = sums[i] + samples[i] * samples[i];
  return sums;
}

/** @param {Float32Array} given @param {number} decibels @param {number} frame @param {number} hop */
function trimmed(given, decibels, frame, hop) {
  const mean = Math.fround(given.reduce((sum, value) => sum + value, 0) / given.length);
  const samples = given.map((value) => value - mean);
  const sums = energies(samples);
  const frames = [];
  for (let at = 0; at + frame < sums.length; at += hop) frames.push(sums[at + frame] - sums[at]);
  const least = frames.reduce((most, one) => Math.max(most, one), 0) * 10 ** (-decibels / 10);
  const first = frames.findIndex((one) => one >= least);
  const last = frames.findLastIndex((one) => one >= least);
  return given.slice(Math.max(0, first - MARGIN) * hop, (last + MARGIN) * hop + frame);
}

/**
 * The window with the most energy; of neighbours that hold as much, the middle one.
 * @param {Float32Array} samples
 * @param {number} size
 * @param {number} step
 */
export function loudest(samples, size, step) {
  if (samples.length <= size) return samples;
  const sums = energies(samples);
  const inside = [];
  for (let at = 0; at + size <= samples.length; at += step) inside.push(sums[at + size] - sums[at]);
  const best = inside.reduce((most, one, i) => (one > inside[most] ? i : most), 0);
  let [first, last] = [best, best];
  while (first > 0 && inside[first - 1] >= ALIKE * inside[best]) first--;
  while (last + 1 < inside.length && inside[last + 1] >= ALIKE * inside[best]) last++;
  const start = Math.floor((first + last) / 2) * step;
  return samples.slice(start, start + size);
}

/**
 * Windows, each half over the last, without those that are silent beside the loudest.
 * @param {Float32Array} samples
 * @param {number} size
 */
export function segments(samples, size) {
  const last = samples.length - size;
  if (last <= 0) return [samples];
  const windows = [];
  for (let at = 0; at < last; at += Math.max(1, Math.floor(size / 2))) windows.push(samples.slice(at, at + size));
  windows.push(samples.slice(last, last + size));
  const energy = windows.map((one) => one.reduce((sum, value) => sum + value * value, 0));
  const most = energy.reduce((found, one) => Math.max(found, one), 0);
  return windows.filter((_, i) => energy[i] >= QUIET * most);
}

/**
 * Pieces of recordings as what is stored: samples from the left, and how many there are.
 * @param {Float32Array[]} pieces
 * @param {number} size
 */
export function storedSamples(pieces, size) {
  const data = new Int16Array(pieces.length * size);
  pieces.forEach((piece, i) => {
    for (let j = 0; j < piece.length; j++) {
      data[i * size + j] = Math.min(FULL - 1, Math.max(-FULL, toEven(piece[j] * FULL)));
    }
  });
  const length = Int32Array.from(pieces, (piece) => piece.length);
  return { samples: { data, shape: [pieces.length, size] }, length: { data: length, shape: [pieces.length] } };
}
