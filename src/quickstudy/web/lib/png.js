/** PNG files as pixels, exactly: browsers multiply what is half transparent, and round 16 bits in their own way. */
import { Refused } from "./refused.js";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
/** Of Adam7: the first column and row, and the steps, of each pass. */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];

/**
 * @typedef {object} Header
 * @property {number} width
 * @property {number} height
 * @property {number} bits
 * @property {0 | 2 | 3 | 4 | 6} colour
 * @property {boolean} interlaced
 */

/**
 * The pixels of a PNG file as Pillow reads them; null for what is none, or says how it is to be turned.
 * @param {ArrayBuffer} file
 * @param {string} name
 * @param {number} most pixels
 * @returns {Promise<import("./image.js").Pixels | null>}
 */
export async function pngIn(file, name, most) {
  const bytes = new Uint8Array(file);
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) return null;
  const broken = (/** @type {string} */ why) =>
    new Refused("unreadable", `${name} cannot be read as an image (${why}). Replace or remove it.`);
  const { header, palette, clear, packed, turned } = chunks(bytes, broken);
  if (turned || (clear && header.bits === 16) || header.width * header.height > most) return null;
  let lines;
  try {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    lines = new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (error) {
    throw broken(String(error));
  }
  return coloured(header, samplesIn(lines, header, broken), palette, clear);
}

/** @param {Uint8Array} bytes @param {(why: string) => Refused} broken */
function chunks(bytes, broken) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Header | null} */
  let header = null;
  let [palette, clear, turned] = [new Uint8Array(0), /** @type {Uint8Array | null} */ (null), false];
  const parts = [];
  for (let at = 8; at + 8 <= bytes.length;) {
    const size = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + size);
    if (data.length < size) throw broken("truncated");
    if (kind === "IHDR") {
      const [bits, colour, , , interlace] = data.subarray(8);
      header = { width: view.getUint32(16), height: view.getUint32(20), bits, colour, interlaced: interlace === 1 };
    } else if (kind === "PLTE") palette = data;
    else if (kind === "tRNS") clear = data;
    else if (kind === "eXIf") turned = true;
    else if (kind === "IDAT") parts.push(data);
    else if (kind === "IEND") break;
    at += 12 + size;
  }
  if (!header || !header.width || !header.height || !(header.colour in CHANNELS)) throw broken("no header");
  if (!parts.length) throw broken("no pixels");
  const packed = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (packed.set(part, at), at + part.length), 0);
  return { header, palette, clear, packed, turned };
}

/**
 * What is stored of each pixel's channels, unfiltered: (height × width × channels).
 * @param {Uint8Array} lines
 * @param {Header} header
 * @param {(why: string) => Refused} broken
 */
function samplesIn(lines, header, broken) {
  const { width, height, bits, interlaced } = header;
  const channels = CHANNELS[header.colour];
  const found = new Uint16Array(width * height * channels);
  const step = Math.max(1, (bits * channels) >> 3);
  let at = 0;
  for (const [left, top, across, down] of interlaced ? PASSES : [[0, 0, 1, 1]]) {
    const columns = Math.ceil((width - left) / across);
    const rows = Math.ceil((height - top) / down);
    if (columns <= 0 || rows <= 0) continue;
    const size = Math.ceil((columns * channels * bits) / 8);
    let before = new Uint8Array(size);
    for (let row = 0; row < rows; row++) {
      const line = lines.subarray(at + 1, at + 1 + size);
      if (line.length < size) throw broken("truncated");
      unfilter(line, before, lines[at], step);
      if (bits === 8 && !interlaced) found.set(line, row * size);
      else {
        for (let i = 0; i < columns * channels; i++) {
          const column = left + Math.floor(i / channels) * across;
          found[((top + row * down) * width + column) * channels + (i % channels)] = sample(line, i, bits);
        }
      }
      before = line;
      at += 1 + size;
    }
  }
  return found;
}

/** @param {Uint8Array} line @param {number} i @param {number} bits */
function sample(line, i, bits) {
  if (bits === 8) return line[i];
  if (bits === 16) return (line[2 * i] << 8) | line[2 * i + 1];
  const per = 8 / bits;
  return (line[Math.floor(i / per)] >> (8 - bits * ((i % per) + 1))) & ((1 << bits) - 1);
}

/** @param {Uint8Array} line @param {Uint8Array} before @param {number} filter @param {number} step */
function unfilter(line, before, filter, step) {
  if (filter === 1) for (let i = step; i < line.length; i++) line[i] += line[i - step];
  if (filter === 2) for (let i = 0; i < line.length; i++) line[i] += before[i];
  if (filter === 3) for (let i = 0; i < line.length; i++) line[i] += ((i < step ? 0 : line[i - step]) + before[i]) >> 1;
  if (filter === 4) {
    for (let i = 0; i < step; i++) line[i] += before[i];
    for (let i = step; i < line.length; i++) line[i] += nearest(line[i - step], before[i], before[i - step]);
  }
}

/**
 * The neighbour that is nearest to left + up − corner (Paeth).
 * @param {number} left
 * @param {number} up
 * @param {number} corner
 */
function nearest(left, up, corner) {
  const a = Math.abs(up - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + up - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

/**
 * @param {Header} header
 * @param {Uint16Array} samples
 * @param {Uint8Array} palette
 * @param {Uint8Array | null} clear
 */
function coloured({ width, height, bits, colour }, samples, palette, clear) {
  const channels = CHANNELS[colour];
  const data = new Uint8Array(width * height * 4);
  if (bits === 8 && colour === 6) {
    data.set(samples);
    return { data, width, height };
  }
  const scale = bits < 8 && colour === 0 ? 255 / ((1 << bits) - 1) : 1;
  const grey = bits === 16 && colour === 0;
  const byte = (/** @type {number} */ value) =>
    grey ? Math.floor(value / 257) : bits === 16 ? value >> 8 : value * scale;
  const hidden =
    clear && colour !== 3 ? Array.from({ length: channels }, (_, c) => (clear[2 * c] << 8) | clear[2 * c + 1]) : null;
  if (hidden && bits === 1) hidden[0] *= 255; // as Pillow has it; of 2 and 4 bits it compares the scaled value
  for (let i = 0; i < width * height; i++) {
    const from = i * channels;
    let [red, green, blue, alpha] = [0, 0, 0, 255];
    if (colour === 3) {
      const which = samples[from];
      [red, green, blue] = palette.subarray(3 * which, 3 * which + 3);
      alpha = clear?.[which] ?? 255;
    } else {
      red = byte(samples[from]);
      [green, blue] = channels < 3 ? [red, red] : [byte(samples[from + 1]), byte(samples[from + 2])];
      if (colour === 4 || colour === 6) alpha = byte(samples[from + channels - 1]);
      else if (hidden && red === hidden[0] && (channels === 1 || (green === hidden[1] && blue === hidden[2])))
        alpha = 0;
    }
    data[4 * i] = red;
    data[4 * i + 1] = green;
    data[4 * i + 2] = blue;
    data[4 * i + 3] = alpha;
  }
  return { data, width, height };
}
