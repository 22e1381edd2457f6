"""`quickstudy export MODEL`: a graph for programs without quickstudy, or a page for the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from quickstudy.cli.parse import open_model, open_run, parse
from quickstudy.deploy.export.export import To
from quickstudy.deploy.store import NAME
from quickstudy.terminal import tell


@dataclass
class Export:
    """Write a model as ONNX, as a program of PyTorch, or as a page for the browser. Extra 'export'."""

    model: tyro.conf.Positional[str]
    """Folder of an adapted model; or a run that has learned no classes yet, such as 'handwriting', which comes with the
    package and is exported with --with-adapt."""
    to: To = "onnx"
    """ONNX; 'torch', a program of torch.export; or 'web', a folder for any server of files."""
    with_adapt: bool = False
    """Also what learns: a graph that takes support examples, their labels and queries."""
    out: Path | None = None
    """The folder to write; if not given, one here that is called after the model, such as my-model-onnx."""
    wasm: Path | None = None
    """Of 'web': the folder of onnxruntime-web, if it is not found."""
    device: str = "auto"
    """Where the model is read to; what is written runs anywhere."""


def run(argv: Sequence[str]) -> int:
    options = parse(Export, "export", argv)
    folder, name = Path(options.model), Path(options.model).name or "model"
    out = options.out if options.out is not None else Path(f"{name}-{options.to}")
    if (folder / NAME).exists() and not (folder / "config.json").exists():
        made = open_model(folder, options.device).export(out, options.to, options.with_adapt, options.wasm)
    else:
        device = None if options.device == "auto" else options.device
        made = open_run(options.model, device, or_model=True).export(out, options.to, options.with_adapt, options.wasm)
    tell(f"Wrote {', '.join(sorted(path.name for path in made.iterdir()))} to {made}")
    if options.to == "web":
        tell(f"Look at it: python -m http.server --directory {made}")
    elif (made / "model.onnx").exists() or (made / "model.pt2").exists():
        tell(f"Ask it: python {made / 'read.py'} FILE …")
    return 0
