/** What is known before the points of a series, as quickstudy.formats.series does it. */
import { Refused } from "./refused.js";

/**
 * The values of one series, checked.
 * @param {any} values
 * @returns {number[]}
 */
export function seriesOf(values) {
  if (!Array.isArray(values)) {
    throw new Refused(
      "no_series",
      `A series is a list of numbers, found ${typeof values}. Give its values in the order of time.`,
    );
  }
  if (values.length < 2) {
    throw new Refused(
      "too_short",
      `A series must have been seen for at least 2 points, found ${values.length}. Wait for more values.`,
    );
  }
  const bad = values.findIndex((value) => typeof value !== "number" || !Number.isFinite(value));
  if (bad >= 0) {
    const what = `The seen values hold ${JSON.stringify(values[bad]) ?? "nothing"} at position ${bad}.`;
    throw new Refused("no_number", `${what} Fill them, from their neighbours for instance.`);
  }
  return values;
}

/**
 * The last `window` values before each of `points`, NaN before the first value: float64 (points, window).
 * @param {number[]} values
 * @param {number[]} points
 * @param {number} window
 */
export function windows(values, points, window) {
  const data = new Float64Array(points.length * window).fill(NaN);
  points.forEach((point, i) => {
    for (let back = 1; back <= Math.min(window, point); back++) data[(i + 1) * window - back] = values[point - back];
  });
  return { data, shape: [points.length, window] };
}
