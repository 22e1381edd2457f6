/** Normalizers of tokenizers: text → text. */
import { Refused } from "../refused.js";
import { pattern } from "./pattern.js";

/** @typedef {(text: string) => string} Normal */

const FORMS = ["NFC", "NFD", "NFKC", "NFKD"];
const SPACES_BEFORE = /^\p{White_Space}+/u;
const SPACES_AFTER = /\p{White_Space}+$/u;
const HAN =
  /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;

/** One character after another, so that no letter depends on its neighbours. @type {Normal} */
const lower = (text) => Array.from(text, (one) => one.toLowerCase()).join("");
/** @type {Normal} */
const bare = (text) => text.normalize("NFD").replace(/\p{Mn}/gu, "");

/**
 * The normalizer that a tokenizer.json tells; Refused for a kind that is not known here.
 * @param {any} told
 * @returns {Normal}
 */
export function normalizer(told) {
  if (!told) return (text) => text;
  if (FORMS.includes(told.type)) return (text) => text.normalize(told.type);
  switch (told.type) {
    case "Sequence": {
      const parts = /** @type {Normal[]} */ (told.normalizers.map(normalizer));
      return (text) => parts.reduce((done, part) => part(done), text);
    }
    case "Lowercase":
      return lower;
    case "StripAccents":
      return (text) => text.replace(/\p{Mn}/gu, "");
    case "Replace": {
      const what = pattern(told.pattern);
      return (text) => text.replace(what, () => told.content);
    }
    case "Strip":
      return (text) => {
        const left = told.strip_left ? text.replace(SPACES_BEFORE, "") : text;
        return told.strip_right ? left.replace(SPACES_AFTER, "") : left;
      };
    case "Prepend":
      return (text) => (text ? told.prepend + text : text);
    case "BertNormalizer":
      return bert(told);
    default:
      throw new Refused("no_tokenizer", `The tokenizer normalises by ${told.type}, which the page does not know.`);
  }
}

/** @param {any} told @returns {Normal} */
function bert(told) {
  return (text) => {
    let done = text;
    if (told.clean_text) done = done.replace(/[\0\uFFFD]|(?![\t\n\r])\p{C}/gu, "").replace(/\p{White_Space}/gu, " ");
    if (told.handle_chinese_chars) done = done.replace(HAN, " $& ");
    if (told.strip_accents ?? told.lowercase) done = bare(done);
    return told.lowercase ? lower(done) : done;
  };
}
