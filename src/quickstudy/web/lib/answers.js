/** What graphs say, as the answers of a page. */

/** @typedef {import("./read.js").Leaf} Leaf */

const RATE = 0.05; // of inputs of the classes that are taken for none of them
const HALF = 1.6448536269514722; // spreads to either side of the middle that hold 90 % of a normal distribution
const COVERAGE = "0.9"; // of intervals, as the manifest tells it
const TINY = 1e-38;

/**
 * Answers of classes, or of tags, about each record. owners: which record each of the outputs is of. least: how likely
 * an input must be of one of the classes; null where nothing tells. tags: whether several may hold at once.
 * @param {Record<string, Leaf>} outputs
 * @param {string[]} names
 * @param {number[]} owners
 * @param {number | null} least
 * @param {boolean} [tags]
 */
export function classAnswers(outputs, names, owners, least, tags = false) {
  const { probabilities, known } = outputs;
  const count = names.length;
  return grouped(owners).map((rows) => {
    const each = rows.map((row) => Array.from(probabilities.data.subarray(row * count, (row + 1) * count), Number));
    const shares = each.length === 1 ? each[0] : tags ? averagedTags(each) : averaged(each);
    const best = shares.reduce((most, share, i) => (share > shares[most] ? i : most), 0);
    /** @type {Record<string, any>} */
    const said = { label: names[best], probabilities: Object.fromEntries(names.map((name, i) => [name, shares[i]])) };
    if (known) {
      said.known = Math.max(...rows.map((row) => Number(known.data[row]))); // where one part is of a class, all is
      if (least !== null) said.refused = said.known < least;
    }
    return said;
  });
}

/** The mean of logits, of probabilities that belong to them, as probabilities. @param {number[][]} each */
function averaged(each) {
  const logits = each[0].map(
    (_, i) => each.reduce((sum, shares) => sum + Math.log(Math.max(shares[i], TINY)), 0) / each.length,
  );
  const most = Math.max(...logits);
  const parts = logits.map((one) => Math.exp(one - most));
  const sum = parts.reduce((all, one) => all + one, 0);
  return parts.map((one) => one / sum);
}

/** As `averaged`, of tags that each hold or do not. @param {number[][]} each */
function averagedTags(each) {
  const log = (/** @type {number} */ share) => Math.log(Math.max(share, TINY));
  return each[0].map((_, i) => {
    const logit = each.reduce((sum, shares) => sum + log(shares[i]) - log(1 - shares[i]), 0) / each.length;
    return 1 / (1 + Math.exp(-logit));
  });
}

/**
 * How far intervals reach, as the manifest tells it: `reach` by coverage, in spreads that are said, or in `scale`s;
 * `growth` with each step of a forecast.
 * @typedef {{reach: Record<string, number>, scale: number | number[] | null, growth: number[]}} Intervals
 */

/**
 * Answers of numbers, with the ends of an interval of 90 % where the model knows how sure it is. step: of a forecast.
 * @param {Record<string, Leaf>} outputs
 * @param {number[]} owners
 * @param {Intervals | null} [intervals]
 * @param {number} [step]
 */
export function numberAnswers({ mean, spread }, owners, intervals = null, step = 0) {
  const width = mean.data.length / mean.shape[0];
  const of = (/** @type {number[]} */ values) => (width === 1 ? values[0] : values);
  const reach = halfOf(intervals, step);
  return grouped(owners).map((rows) => {
    const over = (/** @type {Leaf} */ leaf, /** @type {(x: number) => number} */ f) =>
      Array.from(
        { length: width },
        (_, j) => rows.reduce((sum, row) => sum + f(Number(leaf.data[row * width + j])), 0) / rows.length,
      );
    const values = over(mean, (x) => x);
    const spreads = spread ? over(spread, (x) => x * x).map(Math.sqrt) : scaleOf(intervals, width);
    if (!spreads || (!spread && reach === null) || (intervals?.growth.length && reach === null))
      return { value: of(values) };
    const half = spreads.map((one) => one * (reach ?? HALF));
    return {
      value: of(values),
      low: of(values.map((x, i) => x - half[i])),
      high: of(values.map((x, i) => x + half[i])),
    };
  });
}

/**
 * How many spreads an interval reaches to either side; null where nothing tells.
 * @param {Intervals | null} intervals
 * @param {number} step
 */
function halfOf(intervals, step) {
  const reach = intervals?.reach?.[COVERAGE];
  if (!intervals || reach === undefined) return null;
  return intervals.growth.length ? (step < intervals.growth.length ? reach * intervals.growth[step] : null) : reach;
}

/** @param {Intervals | null} intervals @param {number} width */
function scaleOf(intervals, width) {
  if (!intervals || intervals.scale === null) return null;
  const scales = [intervals.scale].flat(2);
  return Array.from({ length: width }, (_, j) => scales[j % scales.length]);
}

/** The rows of each record, in the order of the records. @param {number[]} owners */
function grouped(owners) {
  /** @type {number[][]} */
  const found = [];
  owners.forEach((owner, row) => (found[owner] ??= []).push(row));
  return found;
}

/**
 * Which of the rates that there are is nearest to the one that is wanted; −1 where there are none.
 * @param {number[]} rates
 */
export function rateAt(rates) {
  return rates.reduce(
    (best, rate, i) => (best < 0 || Math.abs(rate - RATE) < Math.abs(rates[best] - RATE) ? i : best),
    -1,
  );
}

/**
 * How good it thinks it is, of what a head says; why nobody knows, where it does not tell.
 * @param {Record<string, Leaf>} outputs
 * @param {string} why
 */
export function estimateOf({ estimate, trusted }, why) {
  if (!estimate) return { why };
  if (trusted && !trusted.data[0]) {
    return {
      why: "No validation task had as many examples of each class as this one, so nothing tells how good it is.",
    };
  }
  const [mean, low, high] = Array.from(estimate.data, Number);
  return { mean, low, high };
}
