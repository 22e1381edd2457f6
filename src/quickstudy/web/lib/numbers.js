/** Python's ways with numbers, where JavaScript's differ. */

/**
 * The nearest whole number, of two as near the even one.
 * @param {number} x
 */
export function toEven(x) {
  const down = Math.floor(x);
  const rest = x - down;
  if (rest < 0.5) return down;
  if (rest > 0.5) return down + 1;
  return down % 2 === 0 ? down : down + 1;
}

/**
 * The lower median of whole numbers from 0 to 255.
 * @param {number[]} counts how many there are of each
 */
export function median(counts) {
  let left = Math.floor((counts.reduce((sum, n) => sum + n, 0) - 1) / 2);
  for (let value = 0; value < counts.length; value++) {
    left -= counts[value];
    if (left < 0) return value;
  }
  return 0;
}

const NUMBER = /^[+-]?(?:(?:\d+(?:_\d+)*)?\.\d+(?:_\d+)*|\d+(?:_\d+)*\.?)(?:e[+-]?\d+(?:_\d+)*)?$/i;
const ENDLESS = /^([+-]?)(inf|infinity|nan)$/i;

/**
 * The number that a text says, as float() of Python reads it; null for another.
 * @param {string} text
 * @returns {number | null}
 */
export function numberIn(text) {
  const bare = text.trim();
  const endless = ENDLESS.exec(bare);
  if (endless) return endless[2].toLowerCase() === "nan" ? NaN : endless[1] === "-" ? -Infinity : Infinity;
  return NUMBER.test(bare) ? Number(bare.replaceAll("_", "")) : null;
}

/**
 * A number as str() of Python writes it; whole ones without a point.
 * @param {number} x
 */
export function written(x) {
  if (Number.isInteger(x)) return BigInt(x).toString();
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  const [digits, exponent] = x.toExponential().split("e");
  const power = Number(exponent);
  if (power >= -4) return String(x);
  return `${digits}e-${String(-power).padStart(2, "0")}`;
}
