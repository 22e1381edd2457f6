"""What of a format leaves with a model that is exported: how records are read, and what goes into the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Features, State
from quickstudy.errors import ConfigError
from quickstudy.formats.shown import Shown


class Leaving(Shown):
    """The part of the contract of a format that exports ask for. What goes into a graph are `entering` tensors, by
    name, each with an axis of examples; `entered` is what networks are given of them, and is traced."""

    def reading(self, fitted: State) -> dict[str, Any]:
        """What a reader without quickstudy must know to make of records what enters: plain data, with a 'kind'.

        ConfigError where no such reader is there.
        """
        raise self._staying()

    def entering(self, stored: Features, fitted: State) -> dict[str, Tensor]:
        """What goes into a graph, of compact tensors (n, …), as `store` makes them of records."""
        return dict(stored) if isinstance(stored, Mapping) else {"x": stored}

    def entered(self, given: Mapping[str, Tensor], fitted: State) -> Features:
        """What networks take, of what goes into a graph: the same operations for any n."""
        raise self._staying()

    def tried(self, key: Tensor, count: int, fitted: State) -> dict[str, Tensor]:
        """Made-up records as they go into a graph, (count, …), by a key of `quickstudy.rng`."""
        raise self._staying()

    def _staying(self) -> ConfigError:
        return ConfigError(
            f"{self.what.capitalize()} cannot be read without quickstudy, so that models of them are not exported. "
            "Save the model, and load it where quickstudy is: quickstudy.load(folder)."
        )


def only(given: Mapping[str, Tensor]) -> Tensor:
    """The one tensor that there is."""
    (tensor,) = given.values()
    return tensor


def shares(key: Tensor, count: int, size: int) -> Tensor:
    """How much of each of `count` records is there: (count,) int64 in [1, size], the first of them all."""
    drawn = 1 + rng.integers(key, size, (count,))
    return torch.where(torch.arange(count) == 0, size, drawn)
