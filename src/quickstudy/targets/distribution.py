"""What is said of labels, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from quickstudy.brief import brief


class Distribution(NamedTuple):
    """What is said of n labels. mean: (n, *shape). spread: standard deviations, where it is known how sure that is."""

    mean: Tensor
    spread: Tensor | None = None

    def __repr__(self) -> str:
        return brief(self)
