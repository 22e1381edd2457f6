"""The folder of an export that answers, and learns, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quickstudy.errors import ConfigError


def write_web(model: Any, folder: Path, wasm: Path | None) -> None:
    """Put the page beside the graphs and the model.json that are in `folder` already, as `to="onnx"` writes them."""
    raise ConfigError("This quickstudy has no page for the browser. Export with to='onnx' instead.")
