"""Files of records as Meta-Dataset's conversion writes them, made by hand."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from quickstudy.formats.tfrecord import masked


def bitwise(data: bytes) -> int:
    """CRC-32C by its definition, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def entry(key: str, feature: bytes) -> bytes:
    return field(1, field(1, key.encode()) + field(2, feature))


def written(image: bytes, label: int) -> bytes:
    """A tf.train.Example."""
    inner = entry("image", field(1, field(1, image))) + entry("label", field(3, field(1, varint(label % 2**64))))
    return field(1, inner + entry("weight", field(2, field(1, struct.pack("<f", 0.5)))))


def framed(record: bytes) -> bytes:
    head = struct.pack("<Q", len(record))
    return head + struct.pack("<I", masked(bitwise(head))) + record + struct.pack("<I", masked(bitwise(record)))


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((5, 6, 3), level, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def domain(root: Path, classes: int = 11, spec: dict[str, object] | None = None, shards: bool = False) -> Path:
    root.mkdir()
    for c in range(classes):
        parts = [framed(written(png(10 * c + i), c)) for i in range(6)]
        files = {f"{c}_0": parts[:3], f"{c}_1": parts[3:]} if shards else {f"{c}": parts}
        for name, some in files.items():
            (root / f"{name}.tfrecords").write_bytes(b"".join(some))
    if spec is not None:
        (root / "dataset_spec.json").write_text(json.dumps(spec))
    return root


FLAT = {
    "name": "made", "classes_per_split": {"TRAIN": 6, "VALID": 2, "TEST": 3},
    "class_names": {str(c): f"kind {c}" for c in range(11)}, "file_pattern": "{}.tfrecords",
}  # fmt: skip
