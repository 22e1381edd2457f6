/** Models of tokenizers: a piece → ids of tokens. */
import { Refused } from "../refused.js";

/** @typedef {(piece: string) => number[]} Ids */

/**
 * The model that a tokenizer.json tells; Refused for a kind that is not known here.
 * @param {any} told
 * @returns {Ids}
 */
export function vocabulary(told) {
  const kind = told.type ?? (told.merges ? "BPE" : "WordLevel");
  const vocab = new Map(Object.entries(told.vocab));
  if (kind === "BPE") return pairs(told, vocab);
  if (kind === "WordPiece") return words(told, vocab);
  if (kind === "WordLevel") return (piece) => known(vocab, piece, told.unk_token);
  throw new Refused("no_tokenizer", `The tokenizer is of the kind ${kind}, which the page does not know.`);
}

/** @param {Map<string, any>} vocab @param {string} token @param {string | null} instead @returns {number[]} */
function known(vocab, token, instead) {
  const id = vocab.get(token) ?? vocab.get(instead ?? "");
  return id === undefined ? [] : [id];
}

/**
 * Byte-pair encoding (Sennrich et al. 2016): of all neighbours, those are joined whose merge was learned first.
 * @param {any} told
 * @param {Map<string, any>} vocab
 * @returns {Ids}
 */
function pairs(told, vocab) {
  for (const name of ["byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout", "fuse_unk"]) {
    if (told[name]) throw new Refused("no_tokenizer", `The tokenizer has ${name}, which the page does not know.`);
  }
  /** @type {Map<string, number>} */
  const ranks = new Map();
  told.merges.forEach((/** @type {any} */ merge, /** @type {number} */ rank) => {
    const key = typeof merge === "string" ? merge : merge.join(" ");
    if (!ranks.has(key)) ranks.set(key, rank);
  });
  /** @type {Map<string, number[]>} */
  const seen = new Map();
  return (piece) => {
    const before = seen.get(piece);
    if (before) return before;
    const whole = told.ignore_merges ? vocab.get(piece) : undefined;
    const ids =
      whole === undefined ? merged(piece, ranks).flatMap((one) => known(vocab, one, told.unk_token)) : [whole];
    if (seen.size < 10_000) seen.set(piece, ids);
    return ids;
  };
}

/** @param {string} piece @param {Map<string, number>} ranks */
function merged(piece, ranks) {
  const parts = Array.from(piece);
  for (;;) {
    let [best, least] = [-1, Infinity];
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`);
      if (rank !== undefined && rank < least) [best, least] = [i, rank];
    }
    if (best < 0) return parts;
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
}

/**
 * WordPiece: the longest token that a word begins with, and so on.
 * @param {any} told
 * @param {Map<string, any>} vocab
 * @returns {Ids}
 */
function words(told, vocab) {
  return (piece) => {
    const signs = Array.from(piece);
    if (signs.length > told.max_input_chars_per_word) return known(vocab, told.unk_token, null);
    const ids = [];
    for (let start = 0; start < signs.length;) {
      const mark = start ? told.continuing_subword_prefix : "";
      let end = signs.length;
      while (end > start && !vocab.has(mark + signs.slice(start, end).join(""))) end--;
      if (end === start) return known(vocab, told.unk_token, null);
      ids.push(vocab.get(mark + signs.slice(start, end).join("")));
      start = end;
    }
    return ids;
  };
}
