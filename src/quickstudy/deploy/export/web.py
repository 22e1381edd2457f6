"""The folder of an export that answers, and learns, in the browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.deploy.export.subject import Subject
from quickstudy.deploy.support import Kept
from quickstudy.episode import map_features, named
from quickstudy.errors import ConfigError
from quickstudy.formats.drawing import Drawing, Picture, Row, Text

PACKAGE = "onnxruntime-web"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What runs graphs in a browser, in one thread: of the npm package's folder `dist`."""
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""What browsers let the page do: nothing leaves it."""
_ARRAYS = {
    torch.uint8: "Uint8Array", torch.bool: "Uint8Array", torch.int16: "Int16Array", torch.int32: "Int32Array",
    torch.int64: "BigInt64Array", torch.float32: "Float32Array", torch.float64: "Float64Array",
}  # fmt: skip
_SHOWN = 200  # characters of a record


def write_web(subject: Subject, folder: Path, wasm: Path | None) -> None:
    """Put the page beside the graphs and the model.json that are in `folder` already, as `to="onnx"` writes them.

    wasm: the folder of onnxruntime-web, or its `dist`; looked for in node_modules, here and above, if not given. Where
    the page can learn, it begins with the examples that the model has kept. ConfigError where there is no such folder.
    """
    source = runtime(wasm)
    for path, content in _page():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_policed(content) if path == "index.html" else content)
    (folder / "ort").mkdir(exist_ok=True)
    for name in RUNTIME:
        shutil.copyfile(source / name, folder / "ort" / name)
    manifest = json.loads((folder / "model.json").read_text("utf-8"))
    if "head" in manifest["graphs"] and subject.kept is not None and subject.names:
        (folder / "examples.json").write_text(json.dumps(_examples(subject, subject.kept)), "utf-8")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    (folder / "files.json").write_text(json.dumps({"files": sorted({*files, "files.json"})}), "utf-8")


def runtime(wasm: Path | None) -> Path:
    """The folder that holds `RUNTIME`; ConfigError, with how to get it, where there is none."""
    if wasm is not None:
        places = [wasm, wasm / "dist", wasm / "node_modules" / PACKAGE / "dist"]
    else:
        here = Path.cwd()
        places = [place / "node_modules" / PACKAGE / "dist" for place in (here, *here.parents)]
    for place in places:
        if all((place / name).is_file() for name in RUNTIME):
            return place
    where = f"in {wasm}" if wasm is not None else f"in node_modules of {Path.cwd()} or of a folder above"
    raise ConfigError(
        f"There is no {PACKAGE} {where} ({', '.join(RUNTIME)}), which runs the model in the browser. Get it by `npm "
        f"install {PACKAGE}` here, or say where it is: --wasm PATH."
    )


def _page() -> Iterator[tuple[str, bytes]]:
    """The files of the page: their paths, and what they hold. ConfigError where this installation has none."""

    def below(place: Any, path: str) -> Iterator[tuple[str, bytes]]:
        for one in sorted(place.iterdir(), key=lambda found: str(found.name)):
            if one.is_dir():
                yield from below(one, f"{path}{one.name}/")
            elif not one.name.startswith("."):
                yield path + one.name, one.read_bytes()

    page = resources.files("quickstudy") / "web"
    if not (page / "index.html").is_file():
        raise ConfigError("This installation of quickstudy has no page for the browser. Install it anew.")
    yield from below(page, "")


def _policed(page: bytes) -> bytes:
    """The page with `POLICY`, which a server of files does not send."""
    mark = re.search(rb"<meta charset=[^>]*>", page)
    if mark is None:
        raise ConfigError("The page's index.html has no line that names its character set. Install quickstudy anew.")
    policy = f'\n    <meta http-equiv="Content-Security-Policy" content="{POLICY}">'.encode()
    return page[: mark.end()] + policy + page[mark.end() :]


def _examples(subject: Subject, kept: Kept) -> dict[str, Any]:
    """The examples that a model has kept, as the page keeps its own."""
    format, x = subject.spec.format, map_features(lambda leaf: leaf.cpu(), kept.x)
    stored = {name or "x": leaf for name, leaf in named(x).items()}
    features = named(format.features(x, subject.fitted))
    told = []
    for i, label in enumerate(kept.y.tolist()):
        face = format.draw(_one(features, i))
        leaves = {name: _leaf(leaf[i]) for name, leaf in stored.items()}
        told.append({"id": f"{i:016x}", "label": subject.names[label], "leaves": leaves} | _face(face))
    return {"version": 1, "names": list(subject.names), "examples": told}


def _one(features: dict[str, Tensor], index: int) -> Any:
    parts = {name: leaf[index] for name, leaf in features.items()}
    return next(iter(parts.values())) if len(parts) == 1 else parts


def _leaf(tensor: Tensor) -> dict[str, Any]:
    data = base64.b64encode(tensor.contiguous().numpy().tobytes()).decode()
    return {"kind": _ARRAYS[tensor.dtype], "shape": list(tensor.shape), "data": data}


def _face(drawing: Drawing | None) -> dict[str, str]:
    """What people see of an example: a picture, or a text."""
    if isinstance(drawing, Picture):
        from PIL import Image

        pixels = drawing.pixels.permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
        return {"picture": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}
    text = ""
    if isinstance(drawing, Text):
        text = drawing.text
    if isinstance(drawing, Row):
        text = ", ".join(f"{name} {cell}".strip() for name, cell in drawing.cells)
    return {"text": text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"} if text else {}
