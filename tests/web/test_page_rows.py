"""What is pasted from a spreadsheet, and what is recorded, as programs elsewhere read it."""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import subprocess
import wave
from pathlib import Path
from typing import Any

import pytest

import quickstudy

TOOLS = Path(quickstudy.__file__).parent / "web" / "page" / "tools"
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
SCRAPS = ["a", "b c", '"', ",", ";", "\t", "\n", "é", "表", "1", "-2.5", "x,y", " "]


def ran(folder: Path, body: str, given: Any) -> Any:
    """What a script of node gives as JSON; `tool(name)` is a module, `given` what is given."""
    (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
    (folder / "package.json").write_text('{"type": "module"}')
    for module in TOOLS.glob("*.js"):
        shutil.copy(module, folder)
    (folder / "run.js").write_text(
        'import fs from "node:fs";\nconst tool = (name) => import(`./${name}`);\n'
        'const given = JSON.parse(fs.readFileSync("given.json", "utf8"));\n'
        f"const run = async () => {{ {body} }};\nconsole.log(JSON.stringify(await run()));\n"
    )
    done = subprocess.run(["node", "run.js"], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_cells_are_those_that_python_reads(tmp_path: Path) -> None:
    draw, texts, tables = random.Random(0), [], []
    for _ in range(300):
        width, mark = draw.randint(2, 5), draw.choice("\t;,")
        lines = [["".join(draw.choices(SCRAPS, k=draw.randint(1, 5))).strip() for _ in range(width)] for _ in range(4)]
        lines = [[f"n{i}" for i in range(width)], *(line for line in lines if any(line))]
        out = io.StringIO()
        csv.writer(out, delimiter=mark).writerows(lines)
        texts.append(out.getvalue())
        again = csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=mark)
        tables.append([[cell.strip() for cell in line] for line in again])
    said = ran(tmp_path, 'const { cells } = await tool("rows.js"); return given.map(cells);', texts)
    assert said == tables


def test_rows_have_the_names_of_the_first_line_or_those_of_the_model(tmp_path: Path) -> None:
    given = [["age;city\n3;Köln\n;Bonn\n", []], ["1\t2\n3\t4", ["x", "y"]], ["x,y\n1,2", ["x", "y"]], ["1,2\n3,4", []]]
    body = 'const { rows } = await tool("rows.js"); return given.map((one) => rows(...one));'
    assert ran(tmp_path, body, given) == [
        [{"age": 3, "city": "Köln"}, {"age": None, "city": "Bonn"}],
        [{"x": 1, "y": 2}, {"x": 3, "y": 4}],
        [{"x": 1, "y": 2}],
        [[1, 2], [3, 4]],
    ]


def test_what_is_no_table_is_refused_by_line(tmp_path: Path) -> None:
    body = """const { rows, series } = await tool("rows.js");
      return given.map(([name, content]) => {
        try { return (name === "rows" ? rows : series)(content); }
        catch (error) { return [error.code, error.values?.line ?? null]; }
      });"""
    given = [["rows", "a,b\n1,2\n3"], ["rows", "a,b"], ["series", "1\nx"], ["rows", "  \n"]]
    assert ran(tmp_path, body, given) == [["rows_uneven", 3], ["rows_header", None], ["rows_number", 2], []]


def test_one_column_is_one_series_and_lines_are_several(tmp_path: Path) -> None:
    body = 'const { series } = await tool("rows.js"); return given.map(series);'
    assert ran(tmp_path, body, ["1\n2\n3", "1,2\n3,4", "5"]) == [[[1, 2, 3]], [[1, 2], [3, 4]], [[5]]]


def test_recordings_are_wav_files(tmp_path: Path) -> None:
    body = """const { wav } = await tool("wav.js");
      const blob = wav([new Float32Array([0, 0.5, -1]), new Float32Array([2])], 48000);
      return [...new Uint8Array(await blob.arrayBuffer())];"""
    with wave.open(io.BytesIO(bytes(ran(tmp_path, body, None)))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 48000)
        samples = memoryview(file.readframes(9)).cast("h").tolist()
    assert samples == [0, 16384, -32767, 32767]
