/** Pre-tokenizers: text → pieces, within which tokens stay. */
import { Refused } from "../refused.js";
import { pattern } from "./pattern.js";

/** @typedef {(text: string) => string[]} Pieces */

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/gu;

/** What bytes are written as: printable signs as themselves, others by signs from U+0100 on (Radford et al. 2019). */
const BYTES = (() => {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : next++);
  });
})();

/**
 * The pre-tokenizer that a tokenizer.json tells; Refused for a kind that is not known here.
 * @param {any} told
 * @returns {Pieces}
 */
export function splitter(told) {
  if (!told) return (text) => [text];
  switch (told.type) {
    case "Sequence": {
      const parts = /** @type {Pieces[]} */ (told.pretokenizers.map(splitter));
      return (text) => parts.reduce((pieces, part) => pieces.flatMap(part), [text]);
    }
    case "Split":
      return split(pattern(told.pattern), told.behavior, told.invert);
    case "ByteLevel": {
      const cut = told.use_regex === false ? (/** @type {string} */ text) => [text] : split(pattern({ Regex: GPT2 }));
      const spaced = (/** @type {string} */ text) =>
        told.add_prefix_space && !text.startsWith(" ") ? ` ${text}` : text;
      return (text) => cut(spaced(text)).map(bytes);
    }
    case "Whitespace":
      return split(pattern({ Regex: "\\w+|[^\\w\\s]+" }), "Removed", true);
    case "WhitespaceSplit":
      return split(pattern({ Regex: "\\s+" }), "Removed");
    case "Punctuation":
      return split(PUNCTUATION, told.behavior);
    case "Digits":
      return split(told.individual_digits ? /\p{N}/gu : /\p{N}+/gu);
    case "BertPreTokenizer": {
      const signs = split(PUNCTUATION);
      const words = split(pattern({ Regex: "\\s+" }), "Removed");
      return (text) => words(text).flatMap(signs);
    }
    default:
      throw new Refused("no_tokenizer", `The tokenizer splits by ${told.type}, which the page does not know.`);
  }
}

/** @param {string} text */
function bytes(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => BYTES[byte]).join("");
}

/**
 * @param {RegExp} at global
 * @param {string} behavior what becomes of matches
 * @param {boolean} invert whether matches are what is kept
 * @returns {Pieces}
 */
function split(at, behavior = "Isolated", invert = false) {
  return (text) => {
    /** @type {[string, boolean][]} */
    const parts = [];
    let end = 0;
    for (const match of text.matchAll(at)) {
      if (!match[0]) continue;
      if (match.index > end) parts.push([text.slice(end, match.index), invert]);
      parts.push([match[0], !invert]);
      end = match.index + match[0].length;
    }
    if (end < text.length) parts.push([text.slice(end), invert]);
    return arranged(parts, behavior);
  };
}

/** @param {[string, boolean][]} parts and whether they separate @param {string} behavior */
function arranged(parts, behavior) {
  switch (behavior) {
    case "Isolated":
      return parts.map(([text]) => text);
    case "Removed":
      return parts.filter(([, separates]) => !separates).map(([text]) => text);
    case "Contiguous":
    case "MergedWithPrevious":
    case "MergedWithNext": {
      /** @type {[string, boolean][]} */
      const found = [];
      for (const [text, separates] of parts) {
        const last = found.at(-1);
        const joins =
          last &&
          (behavior === "Contiguous"
            ? last[1] === separates
            : behavior === "MergedWithPrevious"
              ? separates && !last[1]
              : last[1] && !separates);
        if (joins) last[0] += text;
        else found.push([text, separates]);
        if (joins && behavior !== "Contiguous") last[1] = behavior === "MergedWithPrevious";
      }
      return found.map(([text]) => text);
    }
    default:
      throw new Refused("no_tokenizer", `The tokenizer has matches ${behavior}, which the page does not know.`);
  }
}
