/** Rows of a table as numbers, as quickstudy.formats.table does it. */
import { CELL, coder, plain } from "./cells.js";
import { numberIn } from "./numbers.js";
import { Refused } from "./refused.js";

/** @typedef {import("./cells.js").Column} Column */
/** @typedef {Record<string, any> | any[]} Row with names, or in the order of the columns */

/**
 * What reads rows as a manifest says.
 * @param {{columns: number, names: string[], schema: Column[] | null, missing: string[]}} reading
 */
export function tableReader({ columns, names, schema, missing }) {
  const gaps = missing.map((text) => text.toLowerCase());
  const width = schema ? CELL : 1;
  const coders = (schema ?? []).map(coder);
  /** @param {Row[]} rows */
  return (rows) => {
    const data = new Float32Array(rows.length * columns * width);
    /** @type {string[]} */
    const unknown = [];
    rows.forEach((row, i) => {
      ordered(row, i, names, columns).forEach((cell, j) => {
        const where = `row ${i + 1}, column '${names[j] ?? j + 1}'`;
        const coded = schema ? coders[j](plain(cell, gaps), where, unknown) : [number(cell, where)];
        data.set(coded, (i * columns + j) * width);
      });
    });
    const said = [...new Set(unknown)].slice(0, 4).join(", ");
    const many = `Cells left out, as if they were empty, whose category was never seen (${unknown.length}): ${said}`;
    const shape = schema ? [rows.length, columns, CELL] : [rows.length, columns];
    return { leaves: { x: { data, shape } }, notices: unknown.length ? [many] : [] };
  };
}

/**
 * The cells of a row in the order of the columns.
 * @param {Row} row
 * @param {number} index
 * @param {string[]} names
 * @param {number} columns
 * @returns {any[]}
 */
function ordered(row, index, names, columns) {
  if (row === null || typeof row !== "object") {
    throw new Refused(
      "no_row",
      `Record ${index} is no row but ${typeof row}. Give an object with names, or a list of cells.`,
    );
  }
  if (Array.isArray(row) || !names.length) {
    const cells = Array.isArray(row) ? row : Object.values(row);
    if (cells.length === columns) return cells;
    const what = `Record ${index} has ${cells.length} columns, but there were ${columns} where this was learned`;
    throw new Refused("no_column", `${what}${names.length ? ` (${names.join(", ")})` : ""}. Give the same columns.`);
  }
  const gone = names.find((name) => !Object.hasOwn(row, name));
  if (gone !== undefined) {
    const there = Object.keys(row).map((name) => `'${name}'`);
    throw new Refused("no_column", `Record ${index} has no column '${gone}'; it has [${there.join(", ")}]. Add it.`);
  }
  return names.map((name) => row[name]);
}

/** @param {any} cell @param {string} where */
function number(cell, where) {
  const found = typeof cell === "string" ? numberIn(cell) : typeof cell === "number" ? cell : null;
  if (found === null) {
    const what = `${where}: the value ${JSON.stringify(cell ?? null).slice(0, 80)} is not a number.`;
    throw new Refused("no_number", `${what} Write numbers with a decimal point, and fill gaps.`);
  }
  if (!Number.isFinite(Math.fround(found))) {
    throw new Refused("no_number", `${where}: the value is ${found}. Fill it, or give it in another unit.`);
  }
  return found;
}
