/** Samples at another rate, band-limited: a sinc in a window of Kaiser, as steep as quickstudy's soxr has it. */

const PASSED = 0.913; // of the lower of both Nyquist frequencies; what lies above is damped
const DAMPED = 120; // decibels
const BETA = 0.1102 * (DAMPED - 8.7); // Kaiser 1974

/**
 * @param {Float32Array} samples
 * @param {number} from samples a second
 * @param {number} to
 * @returns {Float32Array}
 */
export function resampled(samples, from, to) {
  if (from === to || !samples.length) return samples;
  const common = divisor(from, to);
  const [up, down] = [to / common, from / common];
  const band = Math.min(1, to / from);
  const half = Math.ceil((DAMPED - 8) / (2.285 * Math.PI * (1 - PASSED) * band) / 2);
  const cut = (band * (1 + PASSED)) / 2;
  /** @type {(Float64Array | undefined)[]} */
  const kernels = new Array(up);
  const found = new Float32Array(Math.round((samples.length * to) / from));
  for (let i = 0; i < found.length; i++) {
    const place = i * down;
    const middle = Math.floor(place / up);
    const phase = place % up;
    const kernel = (kernels[phase] ??= taps(phase / up, half, cut));
    const [first, last] = [Math.max(0, half - 1 - middle), Math.min(2 * half, samples.length + half - 1 - middle)];
    let sum = 0;
    for (let j = first; j < last; j++) sum += kernel[j] * samples[middle - half + 1 + j];
    found[i] = sum;
  }
  return found;
}

/** @param {number} a @param {number} b @returns {number} */
const divisor = (a, b) => (b ? divisor(b, a % b) : a);

/**
 * The weights of the `half` samples before and after a place, which lies `after` the nearest sample before it.
 * @param {number} after
 * @param {number} half
 * @param {number} cut of the frequencies, 1 is all of them
 */
function taps(after, half, cut) {
  const kernel = new Float64Array(2 * half);
  const whole = bessel(BETA);
  for (let j = 0; j < kernel.length; j++) {
    const away = j - half + 1 - after;
    const inside = 1 - (away / half) ** 2;
    if (inside <= 0) continue;
    const x = Math.PI * cut * away;
    kernel[j] = ((x === 0 ? 1 : Math.sin(x) / x) * cut * bessel(BETA * Math.sqrt(inside))) / whole;
  }
  return kernel;
}

/** The modified Bessel function of the first kind and order 0, by its series. @param {number} x */
function bessel(x) {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-17 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
