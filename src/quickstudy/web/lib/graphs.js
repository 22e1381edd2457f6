/** The graphs of an export, run by onnxruntime-web in one thread. */

/** @typedef {import("./read.js").Leaf} Leaf */
/** @typedef {{name: string, dtype: string, shape: (number | string)[]}} Input */

/** @type {Record<string, any>} */
const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

/**
 * onnxruntime-web, whose files lie beside the page.
 * @param {string} base
 */
export async function runtime(base) {
  const place = new URL("ort/", base).href;
  const ort = await import(`${place}ort.wasm.min.mjs`);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmPaths = place;
  return ort;
}

/**
 * What runs the graphs of a manifest, one question after another.
 * @param {any} manifest
 * @param {any} ort
 * @param {(file: string) => Promise<ArrayBuffer>} load
 */
export function graphs(manifest, ort, load) {
  /** @type {Map<string, Promise<any>>} */
  const sessions = new Map();
  /** @type {Promise<any>} */
  let before = Promise.resolve();

  const session = (/** @type {string} */ name) => {
    let found = sessions.get(name);
    if (!found) {
      const opened = load(manifest.graphs[name].file).then((bytes) =>
        ort.InferenceSession.create(new Uint8Array(bytes), {
          executionProviders: ["wasm"],
          graphOptimizationLevel: "all",
        }),
      );
      opened.catch(() => sessions.delete(name)); // it can be asked for again
      found = opened;
      sessions.set(name, found);
    }
    return found;
  };
  /** @param {Input} input @param {Leaf} leaf */
  const tensor = ({ dtype }, { data, shape }) => {
    const kind = ARRAYS[dtype];
    if (data instanceof kind) return new ort.Tensor(dtype, data, shape);
    return new ort.Tensor(dtype, kind === BigInt64Array ? BigInt64Array.from(data, BigInt) : kind.from(data), shape);
  };
  /**
   * The outputs of a graph, by name.
   * @param {string} name
   * @param {Record<string, Leaf>} leaves
   * @returns {Promise<Record<string, Leaf>>}
   */
  const asked = async (name, leaves) => {
    const opened = await session(name);
    const feeds = Object.fromEntries(
      manifest.graphs[name].inputs.map((/** @type {Input} */ input) => [input.name, tensor(input, leaves[input.name])]),
    );
    const outputs = await opened.run(feeds);
    return Object.fromEntries(
      Object.entries(outputs).map(([output, { data, dims }]) => [output, { data, shape: Array.from(dims) }]),
    );
  };
  return {
    /** Open a graph before it is needed. @param {string} name */
    warm: async (name) => void (await session(name)),
    /** @param {string} name @param {Record<string, Leaf>} leaves */
    run(name, leaves) {
      const next = before.then(() => asked(name, leaves));
      before = next.catch(() => {}); // the next question does not suffer from this one
      return next;
    },
  };
}
