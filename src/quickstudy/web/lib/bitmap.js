/** Image files as pixels: PNG files exactly, all others as the browser decodes them; and pixels as pictures. */
import { MAX_PIXELS } from "./image.js";
import { pngIn } from "./png.js";
import { Refused } from "./refused.js";

/**
 * The pixels of a file, turned as its camera says; Refused, naming it, for what is no image.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<import("./image.js").Pixels>}
 */
export async function pixelsOf(file, name) {
  const exact =
    typeof DecompressionStream === "undefined" ? null : await pngIn(await file.arrayBuffer(), name, MAX_PIXELS);
  if (exact) return exact;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch (error) {
    throw new Refused("unreadable", `${name} cannot be read as an image (${error}). Replace or remove it.`);
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    bitmap.close();
    throw new Refused(
      "too_large",
      `${name} is ${width} x ${height} pixels, more than the limit of ${MAX_PIXELS}. Shrink it.`,
    );
  }
  const context = canvas(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height };
}

/** @param {number} width @param {number} height */
function canvas(width, height) {
  const made = document.createElement("canvas");
  [made.width, made.height] = [width, height];
  const context = made.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Refused("unreadable", "This browser draws no pictures, so that no image can be read.");
  return context;
}

/**
 * Stored pixels as they looked before they were inverted, as the address of a PNG; none outside of a browser.
 * @param {Uint8Array} stored channels × size × size
 * @param {import("./image.js").ImageReading} reading
 * @returns {string | undefined}
 */
export function pictureOf(stored, { size, channels, invert }) {
  if (typeof document === "undefined") return undefined;
  const context = canvas(size, size);
  const image = context.createImageData(size, size);
  const count = size * size;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) {
      const value = stored[(channels === 3 ? c : 0) * count + i];
      image.data[4 * i + c] = invert ? 255 - value : value;
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return context.canvas.toDataURL("image/png");
}
