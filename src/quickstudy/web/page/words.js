/** Every word that people read: looked up by a key, in the language that is chosen, and said anew when it changes. */

export const LANGUAGES = ["en", "zh"];
const CHOSEN = "quickstudy.language";
const said = Symbol("said");
let language = "en";
let dictionary = {};

/** The language of the page now. */
export const current = () => language;

/** The first language that the reader has chosen here, or has set in the browser, and that there is. */
export function preferred() {
  const wanted = [kept(), ...(navigator.languages ?? [navigator.language])];
  const found = wanted.map(
    (one) =>
      String(one ?? "")
        .toLowerCase()
        .split("-")[0],
  );
  return found.find((one) => LANGUAGES.includes(one)) ?? "en";
}

function kept() {
  try {
    return localStorage.getItem(CHOSEN);
  } catch {
    return null; // where nothing may be stored
  }
}

/** Speak a language from now on. remember: also at the next visit. */
export async function speak(wanted, remember = false) {
  const answer = await fetch(new URL(`../words/${wanted}.json`, import.meta.url));
  use(await answer.json(), wanted);
  if (remember) {
    try {
      localStorage.setItem(CHOSEN, wanted);
    } catch {
      // where nothing may be stored, the choice lasts as long as the page
    }
  }
}

/** Take these words, and say anew what is on the page. */
export function use(words, called) {
  dictionary = words;
  language = called;
  document.documentElement.lang = called === "zh" ? "zh-Hans" : called;
  document.title = text("page.title");
  for (const node of document.querySelectorAll("[data-said]")) for (const again of node[said].values()) again();
  document.dispatchEvent(new Event("language"));
}

/** Whether there are words for this key. */
export const has = (key) => key in dictionary || `${key}.other` in dictionary;

/** The words of a key, with `{name}` filled in. `count` chooses between key.one and key.other. */
export function text(key, values = {}) {
  const form = key in dictionary ? key : `${key}.${new Intl.PluralRules(language).select(values.count ?? 0)}`;
  const words = dictionary[form] ?? dictionary[`${key}.other`] ?? key;
  return words.replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
}

const shown = (value) =>
  typeof value === "number" ? new Intl.NumberFormat(language).format(value) : String(value ?? "");

/** A share as people read it: never all, and never none. */
export function percent(share) {
  const written = (one) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(one);
  if (share < 0.01) return `<${written(0.01)}`;
  return share > 0.99 ? `>${written(0.99)}` : written(share);
}

/** Put words into a node, or into one of its attributes, for as long as it is there. */
export function put(node, key, values = {}, attribute = "") {
  const again = () => {
    const words = text(key, values);
    if (attribute) node.setAttribute(attribute, words);
    else node.textContent = words;
  };
  (node[said] ??= new Map()).set(attribute, again);
  node.setAttribute("data-said", "");
  again();
  return node;
}
