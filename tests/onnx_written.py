"""ONNX models, written byte by byte after onnx.proto: an image's mean colour times a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

FLOAT, INTS, EXTERNAL = 1, 7, 1


def number(value: int) -> bytes:
    low = value & 127
    return bytes([low]) if value < 128 else bytes([low | 128]) + number(value >> 7)


def field(index: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return number(index << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(index << 3 | 2) + number(len(data)) + data


def node(kind: str, inputs: Sequence[str], output: str, attributes: bytes = b"") -> bytes:
    named = b"".join(field(1, name) for name in inputs)
    return field(1, named + field(2, output) + field(4, kind) + attributes)


def value(index: int, name: str, shape: Sequence[int | str]) -> bytes:
    """An input (11) or output (12) of the graph."""
    axes = b"".join(field(1, field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return field(index, field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, axes))))


def write(
    path: Path,
    matrix: Tensor,
    shape: Sequence[int | str] = ("n", 3, "h", "w"),
    outputs: Sequence[str] = ("embedding",),
    others: Sequence[str] = (),
    apart: str = "",
) -> Path:
    """y = mean(x over space) · matrix, (3, D), for images of `shape`, channels first or last.

    outputs: all of them are y. others: further inputs, which nothing reads. apart: the name of a file for the matrix.
    """
    nodes, last = b"", shape[1] != 3
    if last:
        permuted = field(5, field(1, "perm") + b"".join(field(8, axis) for axis in (0, 3, 1, 2)) + field(20, INTS))
        nodes += node("Transpose", ["x"], "first", permuted)
    nodes += node("GlobalAveragePool", ["first" if last else "x"], "means")
    nodes += node("Flatten", ["means"], "colours")
    nodes += b"".join(node("MatMul", ["colours", "matrix"], name) for name in outputs)
    data = matrix.float().contiguous().numpy().tobytes()
    tensor = b"".join(field(1, size) for size in matrix.shape) + field(2, FLOAT) + field(8, "matrix")
    if apart:
        (path.parent / apart).write_bytes(data)
        facts = (("location", apart), ("length", str(len(data))))
        tensor += b"".join(field(13, field(1, key) + field(2, said)) for key, said in facts) + field(14, EXTERNAL)
    else:
        tensor += field(9, data)
    batch = shape[0]
    graph = nodes + field(2, "made") + field(5, tensor) + value(11, "x", shape)
    graph += b"".join(value(11, name, shape) for name in others)
    graph += b"".join(value(12, name, (batch, matrix.shape[1])) for name in outputs)
    path.write_bytes(field(1, 8) + field(8, field(2, 17)) + field(7, graph))
    return path


def mean_colours(x: Tensor, matrix: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What the model gives for images (n, 3, H, W) in [0, 1], whose mean no change of size moves."""
    colours = (x.mean((2, 3)) - torch.tensor(mean)) / torch.tensor(std)
    return colours @ matrix
