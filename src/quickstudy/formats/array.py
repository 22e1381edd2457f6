"""Arrays: tensors of any shape whose numbers mean what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State, map_features
from quickstudy.errors import DataError
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Curve, Drawing, row
from quickstudy.formats.layout import Leaf
from quickstudy.formats.leaving import only
from quickstudy.formats.numeric import as_ids, as_numbers
from quickstudy.formats.places import folders_or_files
from quickstudy.formats.records import Broken, Records, Stored, all_kept
from quickstudy.registry import formats

_SUFFIXES = (".npy",)


@formats.register("array")
@dataclass(frozen=True, kw_only=True)
class Array(Format):
    """Numbers (n, *shape), given to networks as floating point and never rescaled: uint8 are numbers from 0 to 255.

    shape: of one example. ids: they are whole numbers that name things, as those of tokens, which networks are given as
    int64, for `nn.Embedding`. As files: one .npy for each example, in one sub-folder for each class.
    """

    shape: tuple[int, ...]
    ids: bool = False

    what = "arrays"

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"x": Leaf(self.shape, torch.int64 if self.ids else torch.float32)}

    def find(self, place: str | Path | Sequence[str | Path], labelled: bool = True) -> Records:
        return folders_or_files(place, _SUFFIXES, self.what, labelled)

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        if isinstance(records, Sequence) and records and all(isinstance(one, str | Path) for one in records):
            records = _loaded(records)
        if self.ids:
            return all_kept(as_ids(records))
        return all_kept(as_numbers(records, features=self.shape != ()))

    def features(self, stored: Features, fitted: State | None = None) -> Features:
        if self.ids:
            return map_features(lambda t: t.to(torch.int64), stored)
        return map_features(lambda t: t if t.is_floating_point() else t.to(torch.float32), stored)

    def reading(self, fitted: State) -> dict[str, Any]:
        return {"kind": "array", "shape": list(self.shape), "ids": self.ids}

    def entering(self, stored: Features, fitted: State) -> dict[str, Tensor]:
        return super().entering(self.features(stored), fitted)

    def entered(self, given: Mapping[str, Tensor], fitted: State) -> Features:
        return only(given)

    def tried(self, key: Tensor, count: int, fitted: State) -> dict[str, Tensor]:
        """Normal numbers; of ids, which may have an end, the first alone."""
        if self.ids:
            return {"x": torch.zeros((count, *self.shape), dtype=torch.int64)}
        return {"x": rng.normal(key, (count, *self.shape))}

    def fitting(self, stored: Features, records: Any = None) -> Format:
        assert isinstance(stored, Tensor)
        return replace(self, shape=tuple(stored.shape[1:]))

    @property
    def example(self) -> str:
        return "point" if len(self.shape) == 1 and self.shape[0] <= 2 else "example"

    @property
    def whole(self) -> str:
        return "function" if self.shape == (1,) else "task"

    def draw(self, x: Features) -> Drawing | None:
        assert isinstance(x, Tensor)
        if x.dim() == 1 and len(x) > 8:
            return Curve(x.tolist())
        return row([""] * x.numel(), x.flatten().tolist())

    def coordinates(self, x: Features) -> Tensor | None:
        assert isinstance(x, Tensor)
        return x if self.shape in ((1,), (2,)) and not self.ids else None


def _loaded(paths: Sequence[str | Path]) -> Any:
    import numpy as np

    arrays = []
    for path in paths:
        try:
            arrays.append(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path} cannot be read as a NumPy array ({error}). Save it with numpy.save.") from error
    return arrays
