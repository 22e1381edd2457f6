/** The examples that a page has learned from, with their versions; each change is kept before it counts. */
import { Refused } from "./refused.js";

/** @typedef {import("./kept.js").Example} Example */
/** @typedef {import("./kept.js").Kept} Kept */

const UNDONE = 50; // changes that can be undone
export const MOST = 2000;

/** A name that no other example has. Not randomUUID, which pages without https lack. */
export function freshId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {Kept} kept
 * @param {Example[]} [first] what there is where nothing was kept
 */
export function support(kept, first = []) {
  const held = new Map((kept.found?.examples ?? first).map((one) => [one.id, one]));
  let versions = kept.found?.versions ?? [first.map(({ id }) => id)];

  /** @param {import("./kept.js").Versions} next @param {Example[]} added */
  async function change(next, added = []) {
    const wanted = new Set(next.flat());
    const gone = [...held.keys()].filter((id) => !wanted.has(id));
    const fresh = kept.found || versions.length > 1 ? added : [...held.values(), ...added];
    await kept.save({ added: fresh.filter(({ id }) => wanted.has(id)), gone, versions: next });
    added.forEach((one) => held.set(one.id, one));
    gone.forEach((id) => held.delete(id));
    versions = next;
  }
  const now = () => /** @type {string[]} */ (versions.at(-1));
  const then = (/** @type {string[]} */ ids, /** @type {Example[]} */ added = []) =>
    change([...versions, ids].slice(-UNDONE - 1), added);

  return {
    /** @returns {Example[]} */
    examples: () => now().map((id) => /** @type {Example} */ (held.get(id))),
    steps: () => versions.length - 1,
    /** @param {Example[]} added */
    async add(added) {
      if (now().length + added.length > MOST) {
        throw new Refused("too_many_examples", `A model learns from ${MOST} examples at most. Forget some first.`);
      }
      await then([...now(), ...added.map(({ id }) => id)], added);
    },
    /** @param {(example: Example) => boolean} which @param {string} what */
    async forget(which, what) {
      const left = now().filter((id) => !which(/** @type {Example} */ (held.get(id))));
      if (left.length === now().length) throw new Refused("not_found", `There is no ${what}. Load the page anew.`);
      await then(left);
    },
    /** Under new ids, so that undoing brings the old name back. @param {string} name @param {string} wanted */
    async rename(name, wanted) {
      const examples = now().map((id) => /** @type {Example} */ (held.get(id)));
      if (!examples.some(({ label }) => label === name))
        throw new Refused("not_found", `There is no class ${name}. Load the page anew.`);
      if (examples.some(({ label }) => label === wanted))
        throw new Refused("name_taken", `There is a class ${wanted} already. Choose another name.`);
      const renamed = examples.map((one) => (one.label === name ? { ...one, id: freshId(), label: wanted } : one));
      await then(
        renamed.map(({ id }) => id),
        renamed.filter(({ id }) => !held.has(id)),
      );
    },
    async undo() {
      if (versions.length < 2) throw new Refused("nothing_to_undo", "There is no change to undo.");
      await change(versions.slice(0, -1));
    },
  };
}
