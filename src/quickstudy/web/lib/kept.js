/** Examples kept in the browser (IndexedDB), so that a reload loses nothing. */
import { Refused } from "./refused.js";

/**
 * @typedef {object} Example
 * @property {string} id
 * @property {any} label
 * @property {Record<string, import("./read.js").Leaf>} leaves what is stored of it, without an axis of examples
 * @property {Float32Array} embedding
 * @property {string} [picture]
 * @property {string} [text]
 */

/** The ids of the examples of each version, the last is the one that counts. @typedef {string[][]} Versions */

/**
 * @typedef {object} Kept
 * @property {{examples: Example[], versions: Versions} | null} found what was kept before; null where nothing was
 * @property {(change: {added: Example[], gone: string[], versions: Versions}) => Promise<void>} save
 */

const [EXAMPLES, LOG, ONLY] = ["examples", "log", "versions"];

/**
 * What is kept under a name; where a browser keeps nothing, as in a private window, it lasts as long as the page.
 * @param {string} name
 * @returns {Promise<Kept>}
 */
export async function keeping(name) {
  if (typeof indexedDB === "undefined") return { found: null, save: async () => {} };
  /** @type {IDBDatabase} */
  let base;
  try {
    base = await opened(name);
  } catch (error) {
    console.warn(`What is learned here is not kept: ${error}`);
    return { found: null, save: async () => {} };
  }
  const reading = base.transaction([EXAMPLES, LOG]);
  const [examples, log] = await Promise.all([
    answer(reading.objectStore(EXAMPLES).getAll()),
    answer(reading.objectStore(LOG).get(ONLY)),
  ]);
  let stamp = log?.stamp ?? 0;
  return {
    found: log ? { examples, versions: log.versions } : null,
    async save({ added, gone, versions }) {
      const change = base.transaction([EXAMPLES, LOG], "readwrite", { durability: "strict" });
      const done = finished(change);
      const now = (await answer(change.objectStore(LOG).get(ONLY)))?.stamp ?? 0;
      if (now !== stamp) {
        change.abort();
        await done.catch(() => {});
        throw new Refused(
          "changed_elsewhere",
          "The examples were changed in another window meanwhile. Load this page anew.",
        );
      }
      for (const example of added) change.objectStore(EXAMPLES).put(example);
      for (const id of gone) change.objectStore(EXAMPLES).delete(id);
      change.objectStore(LOG).put({ stamp: now + 1, versions }, ONLY);
      try {
        await done;
      } catch (error) {
        throw new Refused(
          "not_kept",
          `The browser could not keep the example (${error}). Free some space and try again.`,
        );
      }
      stamp = now + 1;
    },
  };
}

/** @param {string} name @returns {Promise<IDBDatabase>} */
function opened(name) {
  const asked = indexedDB.open(name, 1);
  asked.onupgradeneeded = () => {
    asked.result.createObjectStore(EXAMPLES, { keyPath: "id" });
    asked.result.createObjectStore(LOG);
  };
  return answer(asked);
}

/** @template T @param {IDBRequest<T>} asked @returns {Promise<T>} */
function answer(asked) {
  return new Promise((done, failed) => {
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error);
  });
}

/** @param {IDBTransaction} change @returns {Promise<void>} */
function finished(change) {
  return new Promise((done, failed) => {
    change.oncomplete = () => done();
    change.onerror = change.onabort = () => failed(change.error);
  });
}
