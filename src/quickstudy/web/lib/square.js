/** Pixels brought to a square, as quickstudy.formats.decoding does it: in whole numbers, to the bit. */
import { median, toEven } from "./numbers.js";

/**
 * @typedef {object} Plane one channel of an image
 * @property {Uint8Array} data height × width
 * @property {number} width
 * @property {number} height
 */

/**
 * A plane of boxes of factor × factor pixels averaged, as Pillow's Image.reduce does it in fixed point; boxes at the
 * right and at the bottom may hold fewer pixels.
 * @param {Plane} plane
 * @param {number} factor
 * @returns {Plane}
 */
export function reduced(plane, factor) {
  const width = Math.ceil(plane.width / factor);
  const height = Math.ceil(plane.height / factor);
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const bottom = Math.min((y + 1) * factor, plane.height);
    for (let x = 0; x < width; x++) {
      const right = Math.min((x + 1) * factor, plane.width);
      let sum = 0;
      for (let row = y * factor; row < bottom; row++) {
        for (let at = row * plane.width + x * factor; at < row * plane.width + right; at++) sum += plane.data[at];
      }
      const count = (bottom - y * factor) * (right - x * factor);
      const multiplier = Math.floor(2 ** 32 / (256 * count));
      data[y * width + x] = Math.floor(((sum + Math.floor(count / 2)) * multiplier) / 2 ** 24);
    }
  }
  return { data, width, height };
}

/**
 * What each new pixel takes of old ones, in whole numbers.
 * @typedef {object} Shares
 * @property {number[]} first the first old pixel of each
 * @property {number[][]} weights of it and those that follow
 * @property {number} total what the weights of each new pixel sum to
 */

/**
 * How much of each old pixel lies in each new one. The old ones are length / part long; the last may be a part.
 * @param {number} length
 * @param {number} part
 * @param {number} count how many new pixels there are
 * @returns {Shares}
 */
function areas(length, part, count) {
  const size = part * count; // of an old pixel; a new one is `length` long
  const old = Math.ceil(length / part);
  const first = [];
  const weights = [];
  for (let i = 0; i < count; i++) {
    const [left, right] = [i * length, (i + 1) * length];
    const start = Math.floor(left / size);
    const row = [];
    for (let j = start; j < old && j * size < right; j++) {
      row.push(Math.min(right, (j + 1) * size) - Math.max(left, j * size));
    }
    first.push(start);
    weights.push(row);
  }
  return { first, weights, total: length };
}

/**
 * How much old pixels count by how near their middle is to that of a new one: bilinear.
 * @param {number} old
 * @param {number} count how many new pixels there are, no fewer
 * @returns {Shares}
 */
function neighbours(old, count) {
  const first = [];
  const weights = [];
  for (let i = 0; i < count; i++) {
    const middle = Math.min(Math.max((2 * i + 1) * old, count), (2 * old - 1) * count);
    const start = Math.floor((middle - count) / (2 * count));
    const after = middle - (2 * start + 1) * count;
    first.push(start);
    weights.push(after > 0 ? [2 * count - after, after] : [2 * count]);
  }
  return { first, weights, total: 2 * count };
}

/** @param {number} a @param {number} b @returns {number} */
const divisor = (a, b) => (b ? divisor(b, a % b) : a);

/**
 * A plane as a square (size × size): nothing is cut off and nothing distorted; the rest of the square has the median
 * of the plane's border.
 * @param {Plane} plane
 * @param {number} size
 * @param {{width: number, height: number, factor: number}} [whole] the size before it was `reduced`, and by how much
 * @returns {Uint8Array}
 */
export function square(plane, size, whole = { width: plane.width, height: plane.height, factor: 1 }) {
  const { factor } = whole;
  if (whole.width === size && whole.height === size && factor === 1) return plane.data;
  const longer = Math.max(whole.width, whole.height) / factor;
  const brought = (/** @type {number} */ side) => Math.max(1, toEven(((side / factor) * size) / longer));
  const [width, height] = [brought(whole.width), brought(whole.height)];
  const share = (/** @type {number} */ side, /** @type {number} */ count) => {
    if (longer <= size) return neighbours(side, count);
    const common = divisor(side, factor);
    return areas(side / common, factor / common, count);
  };
  const [across, down] = [share(whole.width, width), share(whole.height, height)];
  const small = weighted(plane, across, down);
  if (width === size && height === size) return small;
  const filled = new Uint8Array(size * size).fill(border(plane));
  const [top, left] = [(size - height) >> 1, (size - width) >> 1];
  for (let y = 0; y < height; y++) filled.set(small.subarray(y * width, (y + 1) * width), (top + y) * size + left);
  return filled;
}

/** @param {Plane} plane @param {Shares} across @param {Shares} down */
function weighted({ data, width: old, height }, across, down) {
  const width = across.first.length;
  const rows = new Float64Array(height * width);
  for (let x = 0; x < width; x++) {
    const weights = across.weights[x];
    const count = weights.length;
    for (let y = 0, at = across.first[x]; y < height; y++, at += old) {
      let sum = 0;
      for (let j = 0; j < count; j++) sum += weights[j] * data[at + j];
      rows[y * width + x] = sum;
    }
  }
  const found = new Uint8Array(down.first.length * width);
  const whole = across.total * down.total;
  for (let y = 0; y < down.first.length; y++) {
    const weights = down.weights[y];
    const count = weights.length;
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let j = 0, at = down.first[y] * width + x; j < count; j++, at += width) sum += weights[j] * rows[at];
      found[y * width + x] = toEven(sum / whole);
    }
  }
  return found;
}

/**
 * The lower median of a plane's border, corners counted twice.
 * @param {Plane} plane
 */
export function border({ data, width, height }) {
  const counts = new Array(256).fill(0);
  for (let x = 0; x < width; x++) {
    counts[data[x]]++;
    counts[data[(height - 1) * width + x]]++;
  }
  for (let y = 0; y < height; y++) {
    counts[data[y * width]]++;
    counts[data[y * width + width - 1]]++;
  }
  return median(counts);
}
