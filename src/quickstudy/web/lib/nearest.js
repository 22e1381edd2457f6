/** Which examples are most like an input. */

/**
 * The examples whose embeddings have the largest cosine with each of some embeddings, the most alike first.
 * @param {Float32Array} asked (n × size)
 * @param {{id: string, embedding: Float32Array}[]} examples
 * @param {number} count
 * @returns {{id: string, similarity: number}[][]}
 */
export function nearest(asked, examples, count) {
  if (!examples.length) return [];
  const size = examples[0].embedding.length;
  const lengths = examples.map(({ embedding }) => Math.sqrt(product(embedding, embedding)) || 1);
  return Array.from({ length: asked.length / size }, (_, i) => {
    const one = asked.subarray(i * size, (i + 1) * size);
    const length = Math.sqrt(product(one, one)) || 1;
    return examples
      .map(({ id, embedding }, j) => ({ id, similarity: product(one, embedding) / (length * lengths[j]) }))
      .sort((a, b) => b.similarity - a.similarity)
      .slice(0, count);
  });
}

/** @param {Float32Array} a @param {Float32Array} b */
function product(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
