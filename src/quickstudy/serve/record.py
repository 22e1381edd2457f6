"""The file of one model: what was done to it, one event after another, each on the disk before it is answered.

Events are only ever added, so that the length of a file says which version it is, to every process that looks. An event
is its length and a checksum, a line of JSON, and the bytes of tensors; one that was cut off by a kill has another
checksum, was never acknowledged, and is cut away before the next is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.errors import CheckpointError
from quickstudy.files import appearing, synced

_HEAD = struct.Struct(
    "<4sIIII"
)  # mark, lengths of the JSON and of the tensors, CRC-32 of both, CRC-32 of all before it
_PART = struct.Struct("<4sIII")
_MARK = b"qs1\n"
_DAMAGED = "The file of this model is damaged. Restore it from a copy, or delete the model."


class Event(NamedTuple):
    """One thing that was done. facts: what, as JSON. tensors: by their names, in which they are told."""

    facts: dict[str, Any]
    tensors: Mapping[str, Tensor] = MappingProxyType({})

    def packed(self) -> bytes:
        parts = [tensor.detach().cpu().contiguous() for tensor in self.tensors.values()]
        leaves = [
            {"name": name, "dtype": str(part.dtype).removeprefix("torch."), "shape": list(part.shape)}
            for name, part in zip(self.tensors, parts, strict=True)
        ]
        told = json.dumps(self.facts | ({"leaves": leaves} if leaves else {}), ensure_ascii=False).encode()
        data = b"".join(part.view(torch.uint8).numpy().tobytes() if part.numel() else b"" for part in parts)
        head = (_MARK, len(told), len(data), zlib.crc32(data, zlib.crc32(told)))
        return _HEAD.pack(*head, zlib.crc32(_PART.pack(*head))) + told + data


def events(data: bytes, start: int = 0) -> Iterator[tuple[Event, int]]:
    """The whole events of a file's bytes from `start` on, each with where it ends. What is cut off at the end is none.

    CheckpointError where bytes in the middle are others than were written.
    """
    view = memoryview(data)
    while start < len(data):
        begin = start + _HEAD.size
        if begin > len(data):
            return
        mark, told, held, body, head = _HEAD.unpack_from(data, start)
        if mark != _MARK or head != zlib.crc32(data[start : start + _PART.size]):
            if any(data[start:]):  # not what a loss of power leaves, nor a kill: that is a beginning
                raise CheckpointError(_DAMAGED)
            return
        end = begin + told + held
        if end > len(data):
            return
        text, rest = view[begin : begin + told], view[begin + told : end]
        if body != zlib.crc32(rest, zlib.crc32(text)):
            if end < len(data):
                raise CheckpointError(_DAMAGED)
            return
        facts = json.loads(bytes(text))
        yield Event(facts, dict(_tensors(facts.pop("leaves", ()), rest))), end
        start = end


def _tensors(leaves: list[Mapping[str, Any]], data: memoryview) -> Iterator[tuple[str, Tensor]]:
    at = 0
    for leaf in leaves:
        kind = getattr(torch, leaf["dtype"])
        size = prod(leaf["shape"]) * kind.itemsize
        own = bytearray(data[at : at + size])
        empty = torch.empty(leaf["shape"], dtype=kind)
        yield leaf["name"], torch.frombuffer(own, dtype=kind).reshape(leaf["shape"]) if own else empty
        at += size


def written(path: Path, first: Sequence[Event]) -> int:
    """Make the file of a new model, with its first events; how long it is. It is there whole, on the disk, or not."""
    data = b"".join(event.packed() for event in first)
    temporary = path.with_suffix(".new")
    with appearing(path, temporary, open(temporary, "xb", opener=_private)) as file:
        file.write(data)
    return len(data)


def _private(path: str, flags: int) -> int:
    """Open a file that is its owner's alone."""
    return os.open(path, flags, 0o600)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


class Held:
    """The file of a model, open, and held against all others."""

    def __init__(self, file: int, path: Path) -> None:
        self._file, self._path = file, path

    def read(self, start: int) -> bytes:
        """What is there from `start` on."""
        return os.pread(self._file, os.fstat(self._file).st_size - start, start)

    def add(self, event: Event, size: int) -> int:
        """Put an event after the first `size` bytes, to the disk; how long the file is then."""
        data = event.packed()
        try:
            os.ftruncate(self._file, size)  # what a killed process left
            os.lseek(self._file, size, os.SEEK_SET)
            _write(self._file, data)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)
            raise
        return size + len(data)

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink()
        synced(self._path.parent)


@contextmanager
def holding(path: Path) -> Iterator[Held | None]:
    """Hold the file of a model; None where another does at this moment. FileNotFoundError where there is none."""
    file = os.open(path, os.O_RDWR)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if not os.fstat(file).st_nlink:  # deleted while it was waited for
            raise FileNotFoundError(path)
        yield Held(file, path)
    finally:
        os.close(file)
