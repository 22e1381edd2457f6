"""Models to take away: as quickstudy keeps them, and as what `quickstudy export` makes of them."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from quickstudy.deploy.model import Model
from quickstudy.serve import learn
from quickstudy.serve.books import Live
from quickstudy.serve.refusal import Refused, busy

if TYPE_CHECKING:
    from quickstudy.serve.service import Service

To = Literal["model", "onnx", "web"]
_EXPORTS = ("onnx", "onnxscript", "onnxruntime")
_WASM = "node_modules/onnxruntime-web/dist"
_one_at_a_time = asyncio.Semaphore(1)


def possible(wasm: str) -> list[To]:
    """What there is: exports need the packages of the extra 'export', and the web folder what runs it in a browser."""
    found: list[To] = ["model"]
    if find_spec("quickstudy.cli.export_command") is not None and all(find_spec(name) for name in _EXPORTS):
        found.append("onnx")
        if _wasm(wasm) is not None:
            found.append("web")
    return found


def _wasm(given: str) -> Path | None:
    """Where the files lie that run a model in a browser."""
    if given:
        return Path(given)
    here = Path.cwd()
    return next((place / _WASM for place in (here, *here.parents) if (place / _WASM).is_dir()), None)


async def made(service: Service, live: Live, to: To) -> bytes:
    """The model as a zip file. 409 where it cannot be had."""
    model = await service.work.do(lambda: learn.ready(live))
    if to not in possible(service.settings.wasm):
        why = (
            "that needs onnxruntime-web: npm install onnxruntime-web where the server runs, or start it with --wasm"
            if to == "web" and "onnx" in possible(service.settings.wasm)
            else "that needs pip install 'quickstudy[export]'"
        )
        raise Refused(409, "missing_extra", f"This server cannot make {to}: {why}.")
    with tempfile.TemporaryDirectory(prefix="quickstudy-") as place:
        folder = Path(place) / "model"
        await asyncio.to_thread(model.save, folder)
        if to != "model":
            folder = await _exported(service, model, folder, to)
        return await asyncio.to_thread(_zipped, folder, to)


async def _exported(service: Service, model: Model, folder: Path, to: To) -> Path:
    """What the command makes of it, in a process of its own, so that others are answered meanwhile."""
    if _one_at_a_time.locked():
        raise busy("it exports another model", 5)
    out, adapts = folder.parent / to, model.learner.embedded is not None
    words = ["export", str(folder), "--to", to, "--out", str(out), *(["--with-adapt"] if adapts or to == "web" else [])]
    wasm = _wasm(service.settings.wasm)
    words += ["--wasm", str(wasm)] if to == "web" and wasm is not None else []
    words += [word for name in service.settings.imports for word in ("--import", name)]
    async with _one_at_a_time:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "quickstudy", *words, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        told = said.decode(errors="replace").strip().splitlines()
        text = (told[-1] if told else "it ended without a word").replace(str(folder.parent), "").strip()
        raise Refused(409, "cannot_export", f"This model cannot be exported as {to}. {text[:400]}")
    return out


def _zipped(folder: Path, name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zip:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                zip.write(path, f"{name}/{path.relative_to(folder).as_posix()}")
    return file.getvalue()
