"""Runs the notebooks of the course and stores them with what they print and draw: `python tools/notebooks.py [NAME …]`.

What changes from one run to the next for no reason (times, versions) is left out, so that a difference means one.
"""

from __future__ import annotations

import base64
import io
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "course").glob("*.ipynb"))
LARGEST = 200_000  # bytes of a file
COLOURS = 64  # of a picture, which is then a third as large
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path, seconds: int = 600) -> Any:
    """The notebook after a run in a fresh process; what a cell prints is one output, in however many pieces the kernel
    sends it. Raises nbclient's CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=seconds, kernel_name="python3", coalesce_streams=True)
    client.execute(cwd=str(path.parent))
    return notebook


def steady(notebook: Any) -> Any:
    """The notebook without times, versions and pictures' names."""
    notebook.metadata = nbformat.from_dict(_METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
            if "image/png" in output.get("data", {}):
                output.data.pop("text/plain", None)  # <Figure size 650x416 with 1 Axes>
                output.data["image/png"] = small(output.data["image/png"])
    return notebook


def small(png: str) -> str:
    """The same picture in few colours and without facts about it; in base64."""
    picture, out = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), io.BytesIO()
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return base64.b64encode(out.getvalue()).decode() + "\n"


def main(names: list[str]) -> None:
    for path in NOTEBOOKS:
        if names and path.stem not in names and path.name not in names:
            continue
        begun = time.monotonic()
        notebook = steady(executed(path))
        nbformat.validate(notebook)
        text = nbformat.writes(notebook) + "\n"
        if len(text.encode()) > LARGEST:
            raise SystemExit(
                f"{path.name} would be {len(text.encode())} bytes, more than {LARGEST}: draw smaller plots."
            )
        path.write_text(text)
        print(f"{path.name}: {time.monotonic() - begun:.0f} s, {len(text.encode()) // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
