/** What follows the values of a series. */
import { numberAnswers } from "./answers.js";
import { Refused } from "./refused.js";

const FURTHEST = 1000; // values that a forecast goes on for

/**
 * The values that follow each series, of which each is appended to those before it, and asked for again.
 * @param {{run: (name: string, leaves: Record<string, any>) => Promise<Record<string, any>>}} graphs
 * @param {import("./read.js").Read} found
 * @param {number} steps
 * @param {import("./answers.js").Intervals | null} [intervals]
 */
export async function forecasts(graphs, found, steps, intervals = null) {
  if (!Number.isInteger(steps) || steps < 1 || steps > FURTHEST) {
    const what = `steps must be from 1 to ${FURTHEST}, found ${steps}: it is how many values to forecast.`;
    throw new Refused("no_number", what);
  }
  const { data, shape } = found.leaves.x;
  const window = shape[1];
  const seen = Float64Array.from(data);
  /** @type {any[][]} */
  const said = found.owners.map(() => []);
  for (let step = 0; step < steps; step++) {
    const outputs = await graphs.run("model", { x: { data: seen.slice(), shape } });
    numberAnswers(outputs, found.owners, intervals, step).forEach((one, i) => {
      said[i].push(one);
      seen.copyWithin(i * window, i * window + 1, (i + 1) * window);
      seen[(i + 1) * window - 1] = [one.value].flat()[0];
    });
  }
  if (steps === 1) return said.map(([one]) => one);
  return said.map((each) => {
    const whole = each.every((one) => one.low !== undefined);
    return Object.fromEntries(
      (whole ? ["value", "low", "high"] : ["value"]).map((end) => [end, each.map((one) => one[end])]),
    );
  });
}
