/** Drawings cut to what is drawn, as quickstudy.formats.ink does it, to the bit. */
import { toEven } from "./numbers.js";
import { border, square } from "./square.js";

/** @typedef {import("./square.js").Plane} Plane */

/**
 * What a manifest says of drawings. fine: times `size`, to so many pixels canvases are reduced at most. faint: of 255,
 * what differs by less from the paper is no ink. share: of the strongest ink, what is fainter does not say where the
 * drawing ends. margin: of the drawing's longer side, left free on each of its sides.
 * @typedef {{fine: number, faint: number, share: number, margin: number}} InkReading
 */

/**
 * A grey canvas as ink (size × size), 255 on 0, cut to what is drawn; 0 where nothing is.
 * @param {Plane} plane
 * @param {number} size
 * @param {InkReading} how
 * @returns {Uint8Array}
 */
export function inked(plane, size, how) {
  const paper = border(plane);
  const { width, height } = plane;
  const ink = new Uint8Array(width * height);
  for (let i = 0; i < ink.length; i++) ink[i] = Math.abs(plane.data[i] - paper);
  const strongest = largest(ink);
  if (strongest < how.faint) return new Uint8Array(size * size);
  const { top, left, side } = around(ink, width, height, strongest, how);
  const cut = new Uint8Array(side * side);
  for (let y = Math.max(0, -top); y < Math.min(side, height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(side, width - left); x++) {
      const value = ink[(y + top) * width + x + left];
      cut[y * side + x] = value * 4 >= how.faint ? value : 0;
    }
  }
  const small = square({ data: cut, width: side, height: side }, size);
  const most = Math.max(1, largest(small));
  return small.map((value) => toEven(Math.fround((value * 255) / most)));
}

/** @param {Uint8Array} values */
function largest(values) {
  let found = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > found) found = values[i];
  return found;
}

/**
 * The square around ink, with its margin.
 * @param {Uint8Array} ink
 * @param {number} width
 * @param {number} height
 * @param {number} strongest
 * @param {InkReading} how
 */
function around(ink, width, height, strongest, how) {
  const least = Math.fround(how.share * strongest);
  let [top, bottom, left, right] = [height, 0, width, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (ink[y * width + x] <= least) continue;
      top = Math.min(top, y);
      bottom = y + 1;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
    }
  }
  let side = Math.max(bottom - top, right - left);
  side += 2 * Math.max(1, toEven(how.margin * side));
  return { top: Math.floor((top + bottom - side) / 2), left: Math.floor((left + right - side) / 2), side };
}
