"""Tensors and JSON on disk: written whole or not at all, refused if a bit has changed. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from quickstudy.errors import CheckpointError, RunError
from quickstudy.files import writing

FORMAT = 1
"""Version of the file format; files of a later one are refused."""


GO_ON = "go on with --resume"
"""What to do after training could not write."""


def write_atomically(path: Path, data: bytes, then: str = "try again") -> None:
    """Replace the file at `path` by `data`, whole or not at all. then: what the error advises once there is room.

    Raises RunError if the disk is full or the folder cannot be written; the old file is then intact.
    """
    try:
        with writing(path) as file:
            file.write(data)
    except OSError as error:
        raise RunError(
            f"Could not write {path}: {error.strerror}. What was there before is intact. "
            f"Free space or make the folder writable, then {then}."
        ) from error


def write_json(path: Path, value: Any) -> None:
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a run or of an adapted model.") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}). Restore it from a copy, or train again.") from error


def _digest(tensors: Mapping[str, Tensor], meta: str) -> str:
    """SHA-256 over the metadata and every tensor's name, type, shape and bytes."""
    sha = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        sha.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], then: str = "try again") -> None:
    """One safetensors file with `meta` (JSON) and a checksum of everything in its header."""
    text = json.dumps(meta)
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    header = {"quickstudy_format": str(FORMAT), "meta": text, "sha256": _digest(plain, text)}
    write_atomically(path, save(plain, metadata=header), then)


def load_tensors(path: Path, kind: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and metadata of a file; CheckpointError if it is truncated, edited or too new.

    kind: what the file must say that it is, such as 'run'.
    """
    if not path.exists():
        raise RunError(f"There is no {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is truncated or not a safetensors file ({error}).") from error
    version = header.get("quickstudy_format", "")
    if not version.isdigit():
        raise CheckpointError(f"{path} was not written by quickstudy: its header names no format.")
    if int(version) > FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, written by a newer quickstudy; this version reads up to {FORMAT}. "
            "Upgrade with: pip install --upgrade quickstudy"
        )
    if _digest(tensors, header.get("meta", "")) != header.get("sha256"):
        raise CheckpointError(f"{path} does not match its checksum: it was edited or damaged. Restore it from a copy.")
    meta: dict[str, Any] = json.loads(header["meta"])
    if kind is not None and meta.get("kind") != kind:
        raise CheckpointError(
            f"{path} does not belong here: it is of the kind {meta.get('kind')!r}, expected {kind!r}. "
            "Restore the file of this folder from a copy."
        )
    return tensors, meta
