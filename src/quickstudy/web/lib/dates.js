/** Dates in the forms of ISO 8601 that datetime.fromisoformat of Python reads. */

const FORM =
  /^(\d{4})-(\d{2})-(\d{2})(?:[^](\d{2})(?::(\d{2})(?::(\d{2})(?:[.,](\d+))?)?)?(Z|[+-]\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d+)?)?)?)?)?$/u;
const DAY = 86400;

/**
 * Days since the first of 1970, of a time without a zone in that of Greenwich; null for what is no date.
 * @param {string} text
 * @returns {number | null}
 */
export function daysIn(text) {
  const found = FORM.exec(text);
  if (!found) return null;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part ?? 0));
  const at = new Date(0);
  at.setUTCFullYear(year, month - 1, day);
  const real = year >= 1 && at.getUTCMonth() === month - 1 && at.getUTCDate() === day;
  if (!real || hour > 23 || minute > 59 || second > 59) return null;
  const micro = Number((found[7] ?? "").slice(0, 6).padEnd(6, "0"));
  const zone = zoneIn(found[8] ?? "Z");
  if (zone === null) return null;
  return (at.getTime() / 1000 + hour * 3600 + minute * 60 + second - zone + micro / 1e6) / DAY;
}

/** Seconds by which a zone is before Greenwich; null for none. @param {string} text */
function zoneIn(text) {
  if (text === "Z") return 0;
  const digits = text.slice(1).replaceAll(":", "");
  const [hours, minutes, seconds] = [digits.slice(0, 2), digits.slice(2, 4), digits.slice(4)].map(Number);
  if (hours > 23 || minutes > 59 || seconds > 59) return null;
  return (text[0] === "-" ? -1 : 1) * (hours * 3600 + minutes * 60 + seconds);
}
