"""The labels of pixels, beside records that are images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Features
from quickstudy.formats.augment import Augment, augment, augment_maps
from quickstudy.formats.decoding import oriented
from quickstudy.formats.distortion import Distortion
from quickstudy.formats.masks import find_masks, fit_opacity, opacity, read_maps, unfit_map
from quickstudy.formats.records import Broken, Records
from quickstudy.targets.maps import LabelMaps


@dataclass(frozen=True)
class Pixels:
    """Maps over squares of so many pixels a side. what: records are called."""

    size: int
    what: str

    def find(self, place: str | Path) -> Records:
        """The records at a place whose labels say the class of each of their pixels: what `maps` takes."""
        return find_masks(place, self.what)

    def maps(self, records: Any, labels: Any, broken: Broken = "refuse") -> tuple[LabelMaps, list[int], list[str]]:
        """Labels of the pixels of records, as files or arrays, over the squares that records become.

        And which of the records have them, and what was left out. Raises DataError, naming the record.
        """
        if isinstance(labels, LabelMaps):
            return labels, list(range(len(labels))), []
        return read_maps(records, labels, self.size, broken)

    def opacity(self, records: Any) -> Tensor:
        """How far records cover what is behind them, (n, size, size) uint8: 255 hides it."""
        return torch.stack([fit_opacity(opacity(record), self.size) for record in records])

    def as_given(self, maps: Tensor, record: Any) -> Tensor:
        """Maps of numbers (C, size, size) over a stored record as maps over the record as it was given."""
        return unfit_map(maps, oriented(record))

    def distorted(self, x: Features, maps: Tensor, keys: Tensor, how: Distortion, fill: int) -> tuple[Features, Tensor]:
        """Distorted images x (n, C, size, size), and the maps of labels (n, size, size) over them, moved alike.

        keys: (n,). fill: the label of what is moved in from outside.
        """
        assert isinstance(x, Tensor) and isinstance(how, Augment)
        return augment(x, keys, how), augment_maps(maps, keys, how, fill)
