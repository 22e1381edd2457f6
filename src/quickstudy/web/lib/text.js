/** Texts as ids of tokens, as quickstudy.formats.text does it. */
import { Refused } from "./refused.js";
import { tokenizer } from "./tokens/tokenizer.js";

const EMPTY = /^[\p{White_Space}\x1c-\x1f]*$/u;

/**
 * What reads texts as a manifest says.
 * @param {{length: number, padding: number, tokenizer: any}} reading
 */
export function textReader({ length, padding, tokenizer: told }) {
  const { encode, special } = tokenizer(told);
  /**
   * @param {string[]} texts
   * @returns {{leaves: Record<string, {data: Int32Array | Uint8Array, shape: number[]}>, notices: string[]}}
   */
  return (texts) => {
    const ids = new Int32Array(texts.length * length).fill(padding);
    const mask = new Uint8Array(texts.length * length);
    let many = 0;
    texts.forEach((text, i) => {
      if (typeof text !== "string")
        throw new Refused("no_text", `Text ${i} is no string but ${typeof text}. Give strings.`);
      if (EMPTY.test(text)) throw new Refused("empty", `Text ${i}: the text is empty. Fill it, or take it out.`);
      if (!wellFormed(text)) throw new Refused("no_text", `Text ${i}: the text is not Unicode. Correct it.`);
      const { ids: found, cut } = encode(text, length);
      if (found.length === special) {
        throw new Refused(
          "empty",
          `Text ${i}: the text ${JSON.stringify(text.slice(0, 60))} gives no token. Take it out.`,
        );
      }
      ids.set(found, i * length);
      mask.fill(1, i * length, i * length + found.length);
      many += Number(cut);
    });
    const notices = many
      ? [`${many} of ${texts.length} texts are longer than ${length} tokens, and were cut off.`]
      : [];
    const shape = [texts.length, length];
    return { leaves: { input_ids: { data: ids, shape }, attention_mask: { data: mask, shape } }, notices };
  };
}

/** Whether no half of a pair of surrogates stands alone. @param {string} text */
function wellFormed(text) {
  return !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);
}
