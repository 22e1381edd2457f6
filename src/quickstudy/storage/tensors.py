"""Tensors as bytes and as files, refused if a bit has changed, in memory as they were before. None is unpickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from quickstudy.entries import not_finite
from quickstudy.errors import CheckpointError, RunError
from quickstudy.files import require_regular
from quickstudy.storage.atomic import write_atomically
from quickstudy.storage.json import fitting, parsed

FORMAT = 1
"""Version of the file format; files of a later one are refused."""
ALIGNMENT = 64
"""PyTorch allocates memory for CPUs at multiples of so many bytes."""


def owned(value: Tensor) -> Tensor:
    """A contiguous copy, in memory that PyTorch allocated.

    In a file, tensors begin at any byte. Kernels take another path there than where memory is aligned, and answers
    would differ in the last bits from those before saving; and whoever wrote over the file would change the tensor.
    """
    return value.clone(memory_format=torch.contiguous_format)


def plain(value: Tensor) -> Tensor:
    """The tensor, or a copy, such that what is stored and read again lies in memory alike: contiguous and aligned."""
    contiguous = value.stride() == torch.empty(value.shape, device="meta").stride()  # strides of axes of length 1, too
    return value if contiguous and value.data_ptr() % ALIGNMENT == 0 else owned(value)


def checksum(*parts: bytes | bytearray | memoryview | str) -> str:
    """SHA-256 over the parts, each with its length in bytes, so that no two lists of parts have the same."""
    sha = hashlib.sha256()
    for part in parts:
        data = memoryview(part.encode() if isinstance(part, str) else part)
        sha.update(data.nbytes.to_bytes(8, "little"))
        sha.update(data)
    return sha.hexdigest()


def pack(tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> bytes:
    """Tensors as safetensors bytes. header: texts to put before them."""
    apart = {name: owned(value.detach().cpu()) for name, value in tensors.items()}  # they may share memory
    return bytes(save(apart, None if header is None else dict(header)))


def unpack(data: bytes) -> dict[str, Tensor]:
    """The tensors of `pack`, on the CPU; CheckpointError for bytes that are no tensors."""
    try:
        return {name: owned(value) for name, value in load(data).items()}
    except (SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(f"Stored tensors are damaged: they are not safetensors ({error}).") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], then: str = "try again") -> None:
    """One safetensors file with `meta` (JSON) and a checksum of everything in its header.

    meta: its 'kind' says what the file is, such as 'run'. then: see `write_atomically`.
    """
    text = json.dumps(meta)
    header = {"quickstudy_format": str(FORMAT), "meta": text, "sha256": _digest(tensors, text)}
    write_atomically(path, pack(tensors, header), then)


def load_tensors(path: Path, kind: str | None = None, meta: Any = dict) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and metadata of a file.

    kind: what the file must say that it is, such as 'run'; its tensors must be finite then. meta: the type of its
    metadata, such as a `TypedDict`.
    Raises RunError if there is no such file; CheckpointError if it is truncated, edited, too new or something else.
    """
    require_regular(path)
    if not path.exists():
        raise RunError(f"There is no {path}.")
    try:
        data = path.read_bytes()  # safetensors itself opens only paths that are UTF-8
        tensors = {name: owned(value) for name, value in load(data).items()}
        header = _header(data)
    except (SafetensorError, OSError, ValueError, TypeError, LookupError) as error:
        raise CheckpointError(f"{path} is truncated or not a safetensors file ({error}).") from error
    _check_version(path, header.get("quickstudy_format", ""))
    text = header.get("meta", "")
    if _digest(tensors, text) != header.get("sha256"):
        raise CheckpointError(f"{path} does not match its checksum: it was edited or damaged. Restore it from a copy.")
    if kind is not None and (bad := not_finite(tensors)) is not None:
        raise CheckpointError(f"{path} is damaged: {bad!r} holds NaN or infinite values. Restore it from a copy.")
    return tensors, _metadata(path, text, kind, meta)


def _header(data: bytes) -> dict[str, str]:
    """The texts that `pack` put before tensors: after the length of the header, its JSON."""
    length = int.from_bytes(data[:8], "little")
    texts: dict[str, str] = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    return texts


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Over the metadata and every tensor's name, type, shape and bytes."""
    parts: list[str | memoryview] = [text]
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        parts += [f"{name}|{value.dtype}|{tuple(value.shape)}", value.reshape(-1).view(torch.uint8).numpy().data]
    return checksum(*parts)


def _check_version(path: Path, version: str) -> None:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise CheckpointError(f"{path} was not written by quickstudy: its header names no format.")
    if int(version) > FORMAT:
        raise CheckpointError(
            f"{path} has format {version}, written by a newer quickstudy; this version reads up to {FORMAT}. "
            "Upgrade with: pip install --upgrade quickstudy"
        )


def _metadata(path: Path, text: str, kind: str | None, hint: Any) -> dict[str, Any]:
    """The metadata of a file, which must be a JSON object of this kind and type."""
    what = f"The metadata of {path}"
    meta: dict[str, Any] = parsed(text, what, dict if kind is None else _Kind)
    if kind is not None and meta["kind"] != kind:
        raise CheckpointError(
            f"{path} does not belong here: it is of the kind {meta['kind'][:60]!r}, expected {kind!r}. Give another "
            "file, or restore the one of this folder from a copy."
        )
    fitting(meta, hint, what)
    return meta


class _Kind(TypedDict):
    kind: str
