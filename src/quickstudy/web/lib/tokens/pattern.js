/** Regular expressions of tokenizers, which Oniguruma reads in Python, as JavaScript reads them. */
import { Refused } from "../refused.js";

/** What stands for other things in both; the left side is escaped. @type {Record<string, string>} */
const CLASSES = {
  s: "\\p{White_Space}",
  S: "\\P{White_Space}",
  d: "\\p{Nd}",
  D: "\\P{Nd}",
  w: "\\p{L}\\p{M}\\p{N}\\p{Pc}",
};

/**
 * @param {{Regex?: string, String?: string} | string} told
 * @returns {RegExp} global
 */
export function pattern(told) {
  if (typeof told === "string") told = { String: told };
  if (told.String !== undefined) return new RegExp(told.String.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), "gu");
  const source = told.Regex ?? "";
  let found = "";
  let inside = false; // of a class
  for (let i = 0; i < source.length; i++) {
    const sign = source[i];
    if (sign !== "\\") {
      if (sign === "[") inside = true;
      if (sign === "]") inside = false;
      found += sign;
      continue;
    }
    const next = source[++i];
    if ((next === "p" || next === "P") && source[i + 1] === "{") {
      const end = source.indexOf("}", i);
      found += property(next, source.slice(i + 2, end));
      i = end;
    } else if (next in CLASSES) {
      found += next === "w" && !inside ? `[${CLASSES.w}]` : CLASSES[next];
    } else {
      found += /[A-Za-z0-9^$\\.*+?()[\]{}|/-]/.test(next) ? `\\${next}` : next;
    }
  }
  try {
    return new RegExp(found, "gu");
  } catch (error) {
    throw new Refused("no_tokenizer", `The tokenizer splits at ${source}, which a browser does not read (${error}).`);
  }
}

/** @param {string} which p or P @param {string} name of a category or of a script */
function property(which, name) {
  const negated = name.startsWith("^");
  const sign = negated ? (which === "p" ? "P" : "p") : which;
  const bare = negated ? name.slice(1) : name;
  try {
    new RegExp(`\\p{${bare}}`, "u");
    return `\\${sign}{${bare}}`;
  } catch {
    return `\\${sign}{Script=${bare}}`; // no category is called so
  }
}
