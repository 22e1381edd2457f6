/** Decoded pixels as the format of images stores them, as quickstudy.formats.image does it. */
import { inked } from "./ink.js";
import { Refused } from "./refused.js";
import { reduced, square } from "./square.js";

/** @typedef {import("./square.js").Plane} Plane */

/**
 * @typedef {object} Pixels
 * @property {Uint8Array | Uint8ClampedArray} data RGBA, not multiplied by alpha
 * @property {number} width
 * @property {number} height
 */

/**
 * What a manifest says of images. ink: how drawings are cut to what is drawn; null where images are none.
 * @typedef {object} ImageReading
 * @property {number} size
 * @property {1 | 3} channels
 * @property {boolean} invert
 * @property {"white" | "black"} background
 * @property {import("./ink.js").InkReading | null} ink
 */

const FINER = 4; // times the size that is wanted, to which large images are reduced by whole factors first
const THIN = 500; // sides of which one is that many times the other show nothing in a square
export const MAX_PIXELS = 50_000_000;

/**
 * The stored pixels (channels × size × size) of one image; Refused, naming it, for one that is too large or too thin.
 * @param {Pixels} pixels
 * @param {ImageReading} reading
 * @param {string} name
 * @returns {Uint8Array}
 */
export function storedPixels(pixels, reading, name = "The image") {
  const { width, height } = pixels;
  if (Math.max(width, height) > THIN * Math.min(width, height)) {
    const what = `${name} is ${width} x ${height} pixels: a line rather than an image. Cut it into parts.`;
    throw new Refused("too_thin", what);
  }
  if (width * height > MAX_PIXELS) {
    const what = `${name} is ${width} x ${height} pixels, more than the limit of ${MAX_PIXELS}. Shrink it.`;
    throw new Refused("too_large", what);
  }
  return reading.ink ? drawing(pixels, reading, reading.ink) : photo(pixels, reading);
}

/** @param {Pixels} pixels @param {ImageReading} reading */
function photo(pixels, { size, channels, invert, background }) {
  const planes = flattened(pixels, channels, background);
  const stored = new Uint8Array(channels * size * size);
  planes.forEach((plane, c) => {
    const { smaller, whole } = finely(plane, size);
    stored.set(square(smaller, size, whole), c * size * size);
  });
  return invert ? stored.map((value) => 255 - value) : stored;
}

/** @param {Pixels} pixels @param {ImageReading} reading @param {import("./ink.js").InkReading} how */
function drawing(pixels, { size, background }, how) {
  /** @type {("white" | "black")[]} */
  const backgrounds = background === "white" ? ["white", "black"] : ["black", "white"];
  let drawn = new Uint8Array(size * size);
  for (const one of backgrounds) {
    const [grey] = flattened(pixels, 1, one);
    drawn = inked(finely(grey, size * how.fine).smaller, size, how);
    if (drawn.some((value) => value > 0)) break;
  }
  return drawn;
}

/**
 * A plane, reduced by a whole factor if it is much larger than `side`.
 * @param {Plane} plane
 * @param {number} side
 */
function finely(plane, side) {
  const factor = Math.max(1, Math.floor(Math.max(plane.width, plane.height) / (FINER * side)));
  const whole = { width: plane.width, height: plane.height, factor };
  return { smaller: factor > 1 ? reduced(plane, factor) : plane, whole };
}

/**
 * The image laid over a background where it is transparent, as one grey plane or as three, as Pillow does both.
 * @param {Pixels} pixels
 * @param {1 | 3} channels
 * @param {"white" | "black"} background
 * @returns {Plane[]}
 */
export function flattened({ data, width, height }, channels, background) {
  const count = width * height;
  const paper = background === "white" ? 255 : 0;
  const planes = Array.from({ length: channels }, () => new Uint8Array(count));
  for (let i = 0; i < count; i++) {
    const alpha = data[4 * i + 3];
    let [red, green, blue] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    if (alpha < 255) {
      red = over(red, alpha, paper);
      green = over(green, alpha, paper);
      blue = over(blue, alpha, paper);
    }
    if (channels === 3) {
      planes[0][i] = red;
      planes[1][i] = green;
      planes[2][i] = blue;
    } else {
      planes[0][i] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    }
  }
  return planes.map((plane) => ({ data: plane, width, height }));
}

/**
 * A value laid over paper, in Pillow's fixed point.
 * @param {number} value
 * @param {number} alpha
 * @param {number} paper
 */
function over(value, alpha, paper) {
  const sum = 128 * (value * alpha + paper * (255 - alpha) + 128);
  return ((sum >> 8) + sum) >> 15;
}
