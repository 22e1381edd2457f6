"""What is said of labels, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from quickstudy.brief import brief


class Distribution(NamedTuple):
    """What is said of n labels. mean: (n, *shape). spread: standard deviations, where it is known how sure that is."""

    mean: Tensor
    spread: Tensor | None = None

    def __repr__(self) -> str:
        return brief(self)


def mean_of_parts(parts: Sequence[Distribution], owner: Tensor) -> Distribution:
    """What is said of n records of which each has parts: the mean over these, and the root of the mean variance.

    parts: what is said of m parts in turn, some at a time. owner: (m,) int64, the record that each is a part of.
    """
    means = torch.cat([part.mean for part in parts])
    owner = owner.to(means.device)
    count = owner.bincount().to(means.dtype).view(-1, *[1] * (means.dim() - 1))

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros((len(count), *values.shape[1:])).index_add(0, owner, values) / count

    spreads = [part.spread for part in parts if part.spread is not None]
    return Distribution(mean(means), mean(torch.cat(spreads).square()).sqrt() if len(spreads) == len(parts) else None)
