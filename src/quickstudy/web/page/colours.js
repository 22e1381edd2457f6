/** A hue for each class, the same in its box, its bars and its examples. */

const COUNT = 8; // --hue-0 to --hue-7 in style.css

/** The hue of the class at a place, as a value of CSS. */
export const hue = (place) => (place < 0 ? "var(--muted)" : `var(--hue-${place % COUNT})`);
