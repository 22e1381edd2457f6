/** A tokenizer.json of the library tokenizers, as far as it is of bytes' pairs or of words' pieces. */
import { Refused } from "../refused.js";
import { normalizer } from "./normal.js";
import { pattern } from "./pattern.js";
import { splitter } from "./pieces.js";
import { vocabulary } from "./vocabulary.js";

/**
 * @typedef {object} Tokenizer
 * @property {(text: string, length: number) => {ids: number[], cut: boolean}} encode up to `length` tokens
 * @property {number} special how many tokens are in every text
 */

/**
 * @param {any} told the JSON object
 * @returns {Tokenizer}
 */
export function tokenizer(told) {
  const normal = normalizer(told.normalizer);
  const split = splitter(told.pre_tokenizer);
  const ids = vocabulary(told.model);
  const { before, after } = frame(told.post_processor);
  const added = told.added_tokens ?? [];
  const literal = finder(
    added.filter((/** @type {any} */ one) => !one.normalized),
    (content) => content,
  );
  const usual = finder(
    added.filter((/** @type {any} */ one) => one.normalized),
    normal,
  );
  const special = before.length + after.length;
  const encode = (/** @type {string} */ text, /** @type {number} */ length) => {
    const found = literal(text).flatMap((part) => {
      if (typeof part === "number") return [part];
      return usual(normal(part)).flatMap((one) => (typeof one === "number" ? [one] : split(one).flatMap(ids)));
    });
    return { ids: [...before, ...found.slice(0, length - special), ...after], cut: found.length > length - special };
  };
  return { encode, special };
}

/**
 * What splits a text into tokens that were added whole, as ids, and what lies between.
 * @param {any[]} tokens
 * @param {(content: string) => string} normal
 * @returns {(text: string) => (string | number)[]}
 */
function finder(tokens, normal) {
  const odd = tokens.find((one) => one.single_word);
  if (odd)
    throw new Refused("no_tokenizer", `The token ${odd.content} stands for whole words, which the page does not know.`);
  if (!tokens.length) return (text) => (text ? [text] : []);
  const byContent = new Map(tokens.map((one) => [normal(one.content), one]));
  const longest = [...byContent.keys()].filter(Boolean).sort((a, b) => b.length - a.length);
  const sources = longest.map((content) => {
    const { lstrip, rstrip } = byContent.get(content);
    return `${lstrip ? "\\p{White_Space}*" : ""}(?:${pattern(content).source})${rstrip ? "\\p{White_Space}*" : ""}`;
  });
  const at = new RegExp(sources.map((source) => `(${source})`).join("|"), "gu");
  return (text) => {
    const parts = [];
    let end = 0;
    for (const match of text.matchAll(at)) {
      if (match.index > end) parts.push(text.slice(end, match.index));
      const which = match.slice(1).findIndex((group) => group !== undefined);
      parts.push(byContent.get(longest[which]).id);
      end = match.index + match[0].length;
    }
    if (end < text.length) parts.push(text.slice(end));
    return parts;
  };
}

/**
 * The ids that stand before and after every text.
 * @param {any} told
 * @returns {{before: number[], after: number[]}}
 */
function frame(told) {
  if (!told || told.type === "ByteLevel") return { before: [], after: [] };
  if (told.type === "BertProcessing" || told.type === "RobertaProcessing") {
    return { before: [told.cls[1]], after: [told.sep[1]] };
  }
  if (told.type === "TemplateProcessing") {
    const at = told.single.findIndex((/** @type {any} */ one) => one.Sequence);
    const found = told.single.map((/** @type {any} */ one) =>
      one.SpecialToken ? told.special_tokens[one.SpecialToken.id].ids : [],
    );
    return { before: found.slice(0, at).flat(), after: found.slice(at + 1).flat() };
  }
  if (told.type === "Sequence") {
    const parts = told.processors.map(frame);
    return {
      before: parts.flatMap((/** @type {any} */ one) => one.before),
      after: parts.flatMap((/** @type {any} */ one) => one.after),
    };
  }
  throw new Refused("no_tokenizer", `The tokenizer ends texts by ${told.type}, which the page does not know.`);
}
