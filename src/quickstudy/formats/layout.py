"""What features are, and whether tensors are such: the first part of the contract of a format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import Features
from quickstudy.errors import DataError, ShapeError


class Leaf(NamedTuple):
    """One tensor of the features: the shape of one example, and its type. below: whole numbers lie in [0, below)."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    below: int | None = None


class LaidOut(ABC):
    """The shapes of features."""

    @property
    @abstractmethod
    def layout(self) -> Mapping[str, Leaf]:
        """The tensors that features consist of: one is given to a network as it is, several by their names."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example where features are one tensor; () where they are several."""
        return next(iter(self.layout.values())).shape if len(self.layout) == 1 else ()

    def named(self, x: Features, name: str = "x") -> dict[str, Tensor]:
        """The tensors of features by their names in `layout`; ShapeError if they are others."""
        if isinstance(x, Mapping) and len(self.layout) == 1:
            raise ShapeError(f"{name} must be one tensor, found a dict of {', '.join(map(repr, x))}. Give the tensor.")
        tensors = dict(x) if isinstance(x, Mapping) else {next(iter(self.layout)): x}
        if tensors.keys() != self.layout.keys():
            raise ShapeError(
                f"{name} has the tensors {', '.join(map(repr, tensors))}, expected {', '.join(map(repr, self.layout))}."
            )
        return tensors

    def check(self, x: Features, lead: int, name: str = "x") -> None:
        """Refuse features (*lead, …), padding included, of another shape or type: ShapeError, naming the axis."""
        for label, tensor in self.named(x, name).items():
            leaf = self.layout[label]
            called = name if len(self.layout) == 1 else f"{name}[{label!r}]"
            _check_shape(called, tuple(tensor.shape[lead:]), leaf.shape, lead)
            if tensor.is_floating_point() != leaf.dtype.is_floating_point:
                kind = "floating point" if leaf.dtype.is_floating_point else "whole numbers"
                raise ShapeError(
                    f"{called} must be {kind}, found {tensor.dtype}. Convert it"
                    + (
                        "; or, if whole numbers name things, as those of tokens do, say so where the tasks are made: "
                        "format=quickstudy.formats.Array(shape=…, ids=True)."
                        if leaf.dtype.is_floating_point
                        else "."
                    )
                )
            if leaf.below is not None and tensor.numel():
                low, high = (int(end) for end in tensor.aminmax())
                if low < 0 or high >= leaf.below:
                    raise DataError(
                        f"{called} holds numbers from {low} to {high}, but they must lie in [0, {leaf.below}). Make "
                        "them as this format does: format.features(format.store(records).x)."
                    )

    def nothing(self, count: int) -> Features:
        """Features of zeros, (count, …): what a network can be tried on."""
        zeros = {name: torch.zeros((count, *leaf.shape), dtype=leaf.dtype) for name, leaf in self.layout.items()}
        return next(iter(zeros.values())) if len(zeros) == 1 else zeros


def _check_shape(name: str, actual: tuple[int, ...], expected: tuple[int, ...], lead: int) -> None:
    if len(actual) != len(expected):
        raise ShapeError(
            f"{name} must have {len(expected)} axes after the first {lead}, of sizes {expected}; found {len(actual)}, "
            f"of sizes {actual}. Reshape it, or give the tasks another format."
        )
    for axis, (have, want) in enumerate(zip(actual, expected, strict=True)):
        if have != want:
            raise ShapeError(
                f"{name} has size {have} along axis {axis + lead}, expected {want} (one example is {expected})."
            )
