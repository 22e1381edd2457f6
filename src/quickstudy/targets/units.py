"""What the numbers of a task are in, where that is not what its user gave them in."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from quickstudy.brief import brief


class Units(NamedTuple):
    """What numbers are in: `mean` and `spread`, which broadcast over (n, *shape), of them in the user's own units."""

    mean: Tensor
    spread: Tensor

    def __repr__(self) -> str:
        return brief(self)
