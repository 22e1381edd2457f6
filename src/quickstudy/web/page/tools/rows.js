/** Rows of a spreadsheet, as it is pasted or saved: tabs, commas or semicolons between cells, quotes around some. */

/** The cells of each line that holds something. */
export function cells(content) {
  const mark = separator(content);
  const lines = [];
  let line = [];
  let cell = "";
  let quoted = false;
  const end = () => {
    line.push(cell.trim());
    cell = "";
  };
  for (let i = 0; i < content.length; i += 1) {
    const letter = content[i];
    if (quoted) {
      if (letter === '"' && content[i + 1] === '"') cell += content[(i += 1)];
      else if (letter === '"') quoted = false;
      else cell += letter;
    } else if (letter === '"' && !cell.trim()) {
      quoted = true;
      cell = "";
    } else if (letter === mark) end();
    else if (letter === "\n" || letter === "\r") {
      end();
      lines.push(line);
      line = [];
    } else cell += letter;
  }
  end();
  lines.push(line);
  return lines.filter((one) => one.some(Boolean));
}

/** What stands between cells: whichever of tab, semicolon and comma the first line has most of, in this order. */
function separator(content) {
  const first = content.split(/\r?\n/).find((line) => line.trim()) ?? "";
  const counts = ["\t", ";", ","].map((mark) => [mark, first.split(mark).length - 1]);
  if (counts[0][1]) return "\t";
  return counts[1][1] ? ";" : ",";
}

const number = (cell) => cell !== "" && Number.isFinite(Number(cell));

/** Rows as objects, by the names of the first line, or by `names` where the first line holds numbers alone. */
export function rows(content, names = []) {
  const lines = cells(content);
  if (!lines.length) return [];
  const bare = lines[0].every((cell) => cell === "" || number(cell)) || same(lines[0], names);
  const headed = !bare || same(lines[0], names);
  if (!headed && !names.length) return lines.map((line) => line.map(value));
  const called = headed ? lines.shift() : names;
  if (!lines.length) throw { code: "rows_header", message: "" };
  for (const [i, line] of lines.entries()) {
    if (line.length !== called.length) {
      throw {
        code: "rows_uneven",
        message: "",
        values: { line: i + 1 + headed, found: line.length, wanted: called.length },
      };
    }
  }
  return lines.map((line) => Object.fromEntries(called.map((name, i) => [name, value(line[i])])));
}

const same = (line, names) => line.length === names.length && line.every((cell, i) => cell === names[i]);
const value = (cell) => (cell === "" ? null : number(cell) ? Number(cell) : cell);

/** Lines of numbers: each a record. A single column of several is one. */
export function series(content) {
  const lines = cells(content);
  const wrong = lines.flatMap((line, i) => line.filter((cell) => !number(cell)).map((cell) => [i + 1, cell]))[0];
  if (wrong) throw { code: "rows_number", message: "", values: { line: wrong[0], cell: wrong[1] } };
  const found = lines.map((line) => line.map(Number));
  return found.length > 1 && found.every((line) => line.length === 1) ? [found.flat()] : found;
}
