/** Cells of a column that was learned, in units of its spread, as quickstudy.formats.schema codes them. */
import { daysIn } from "./dates.js";
import { numberIn, written } from "./numbers.js";
import { Refused } from "./refused.js";

/**
 * A column, as the manifest tells it. values: its categories; of dates, the first day.
 * @typedef {object} Column
 * @property {string} name
 * @property {"number" | "category" | "boolean" | "date" | "nothing"} kind
 * @property {string[]} values
 * @property {number} centre
 * @property {number} spread
 */

export const CELL = 3;
const LARGEST = 1e18;

/**
 * A cell as a text, a truth value or a number; null where it holds nothing.
 * @param {any} cell
 * @param {string[]} missing texts that mean an empty cell, in lower case
 * @returns {string | boolean | number | null}
 */
export function plain(cell, missing) {
  if (typeof cell === "string") {
    const text = cell.trim();
    return missing.includes(text.toLowerCase()) ? null : text;
  }
  return cell === undefined || cell === null || Number.isNaN(cell) ? null : cell;
}

/** @param {string | boolean | number} cell */
function text(cell) {
  if (typeof cell === "number") return written(cell);
  return typeof cell === "boolean" ? (cell ? "True" : "False") : String(cell);
}

/** @type {Record<string, (cell: string | boolean | number) => number | null>} */
const READINGS = {
  boolean: (cell) => {
    if (typeof cell === "string") return { true: 1, false: 0 }[cell.toLowerCase()] ?? null;
    return typeof cell === "boolean" ? Number(cell) : null;
  },
  number: (cell) => (typeof cell === "string" ? numberIn(cell) : Number(cell)),
  date: (cell) => (typeof cell === "string" && cell.slice(1).includes("-") ? daysIn(cell) : null),
};

/**
 * What codes the cells of a column: [value, 1 where it is missing, the number of its category].
 * @param {Column} column
 * @returns {(cell: string | boolean | number | null, where: string, unknown: string[]) => number[]}
 */
export function coder(column) {
  const { kind, values, centre, spread } = column;
  const categories = new Map(values.map((value, i) => [value, i]));
  const first = kind === "date" ? (daysIn(values[0]) ?? 0) : 0;
  const number = (/** @type {string | boolean | number} */ cell, /** @type {string} */ where) => {
    const read = READINGS[kind](cell);
    if (read === null) {
      throw new Refused(
        "no_number",
        `${where}: ${JSON.stringify(text(cell).slice(0, 60))} is no ${kind}, as this column's cells were where it was ` +
          "learned. Correct it, or leave the cell empty.",
      );
    }
    if (!Number.isFinite(read) || Math.abs(read) > LARGEST) {
      const what = `${where}: the value is ${read}, which cannot be computed with. Correct it, or empty it.`;
      throw new Refused("no_number", what);
    }
    return read - first;
  };
  return (cell, where, unknown) => {
    if (kind === "nothing") return [0, 0, 0];
    if (cell === null) return [0, 1, 0];
    if (kind === "category") {
      const which = categories.get(text(cell));
      if (which !== undefined) return [(which - centre) / spread, 0, 1 + which];
      unknown.push(`'${text(cell).slice(0, 40)}' in the column '${column.name}'`);
      return [0, 1, 0];
    }
    const found = number(cell, where);
    return [(found - centre) / spread, 0, kind === "boolean" ? 1 + found : 0];
  };
}
