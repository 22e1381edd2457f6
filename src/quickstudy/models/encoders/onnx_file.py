"""What an ONNX model consists of: its own file, and those beside it that hold its large tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from quickstudy.errors import CheckpointError, ConfigError
from quickstudy.files import require_regular
from quickstudy.storage.tensors import checksum

# Which fields of onnx.proto lead to tensors, by message and number of the field.
_LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2  # of an entry of external_data


def onnx_checksum(file: str | Path) -> str:
    """SHA-256 over the model and the files that it names. ConfigError, naming the file, where one is missing."""
    path = found(file)
    data = path.read_bytes()
    try:
        names = sorted(set(_external("model", memoryview(data))))
    except (IndexError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is truncated or not an ONNX model ({error}). Export or fetch it again."
        ) from error
    others = [_digest(found(path.parent / name, f", which {path} names")) for name in names]
    return checksum(data, *others)


def found(file: str | Path, whose: str = "") -> Path:
    """The path of a file that is there; ConfigError otherwise."""
    require_regular(file)
    path = Path(file)
    if not path.exists():
        raise ConfigError(
            f"There is no file {path}{whose} (looked for in {Path.cwd()}). An ONNX encoder is not part of a run: put "
            "its file where it was when the run was trained, or start the command from the folder that it is in."
        )
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _external(message: str, data: memoryview) -> Iterator[str]:
    """The names of the files that hold tensors of a message."""
    if message == "entry":
        entry = dict(_parts(data))
        if bytes(entry.get(_KEY, b"")) == b"location":
            yield bytes(entry[_VALUE]).decode()
        return
    for number, part in _parts(data):
        if (leads := _LEADS[message].get(number)) is not None:
            yield from _external(leads, part)


def _parts(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length, by their numbers; the others are passed over."""
    at = 0
    while at < len(data):
        tag, at = _number(data, at)
        if tag & 7 == 2:
            size, at = _number(data, at)
            if at + size > len(data):
                raise IndexError("a field goes on beyond its end")
            yield tag >> 3, data[at : at + size]
            at += size
        elif tag & 7 == 0:
            _, at = _number(data, at)
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise IndexError(f"a field of the unknown type {tag & 7}")


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
        if shift > 63:
            raise IndexError("a number that does not end")
