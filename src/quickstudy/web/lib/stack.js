/** Leaves of single examples as leaves of many, and back. */

/** @typedef {import("./read.js").Leaf} Leaf */

/**
 * @param {Leaf[]} parts without an axis of examples
 * @returns {Leaf}
 */
export function stacked(parts) {
  const size = parts[0].data.length;
  const data = new parts[0].data.constructor(parts.length * size);
  parts.forEach((part, i) => data.set(part.data, i * size));
  return { data, shape: [parts.length, ...parts[0].shape] };
}

/**
 * Example i of each leaf, as a copy.
 * @param {Record<string, Leaf>} leaves
 * @param {number} i
 * @returns {Record<string, Leaf>}
 */
export function taken(leaves, i) {
  return Object.fromEntries(
    Object.entries(leaves).map(([name, { data, shape }]) => {
      const size = data.length / shape[0];
      return [name, { data: data.slice(i * size, (i + 1) * size), shape: shape.slice(1) }];
    }),
  );
}
