"""Steps: what an agent sees when it is to act."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quickstudy.episode import Features, map_features
from quickstudy.errors import ConfigError
from quickstudy.formats.base import Format
from quickstudy.formats.drawing import Drawing, row
from quickstudy.formats.layout import Leaf
from quickstudy.formats.numeric import as_numbers
from quickstudy.formats.records import Broken, Stored, all_kept
from quickstudy.registry import formats

_BESIDE = 2  # the reward before, and whether an episode begins
_EDGE = 3.0  # so that the middle of a plane moves by about as much as a cell changes


class FlatPlanes(nn.Module):
    """Of planes (n, C, height, width) vectors: all numbers of the first `seen` planes and the middle of each, its row
    and column as numbers from -3 to 3; one number of each plane after them, whose numbers are all the same; and the
    products of these with the middles.

    A layer over all cells learns about each cell separately, so that it hardly finds where a thing is: that is given as
    numbers. A number that is copied into every cell would be learned as many times faster than a cell: it is given
    once. And what an action does is that something moves after it: sums of the products tell. The middle of a plane of
    changes, with numbers of both signs, is half of how far a thing has moved.
    """

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, x: Tensor) -> Tensor:
        seen, told = x[:, : self.seen], x[:, self.seen :, 0, 0]
        total = seen.abs().sum((2, 3)).clamp(min=1)
        rows, columns = (_places(size, x) for size in x.shape[2:])
        middles = torch.cat([seen.sum(3) @ rows / total, seen.sum(2) @ columns / total], 1)
        products = told[:, :, None] * middles[:, None]
        return torch.cat([seen.flatten(1), middles, told, products.flatten(1)], 1)


def _places(size: int, like: Tensor) -> Tensor:
    """Where the rows or columns of a plane lie, (size,)."""
    half = _EDGE if size > 1 else 0.0
    return torch.linspace(-half, half, size, device=like.device, dtype=like.dtype)


@formats.register("steps")
@dataclass(frozen=True, kw_only=True)
class Steps(Format):
    """What is seen at each step of an environment: numbers (n, D), or planes (n, C, height, width).

    observation: the shape of what is seen. past: how many numbers tell what was done at the step before. They are put
    beside what is seen, as are the reward that followed and 1 where an episode begins, all 0 where nothing came before:
    an agent that remembers learns from them. Beside planes they are planes of one number each. 0 leaves them out. unit:
    what the reward is told in: where what matters are small differences, one of about their size.

    >>> Steps(observation=(3,), past=2).input_shape
    (7,)
    """

    observation: tuple[int, ...]
    past: int = 0
    unit: float = 1.0

    what = "observations"

    def __post_init__(self) -> None:
        if len(self.observation) not in (1, 3) or self.past < 0:
            raise ConfigError(
                f"What is seen at a step is numbers (D,) or planes (C, height, width), found {self.observation}. "
                "Flatten it, or give it an axis of channels."
            )
        if not 0 < self.unit < math.inf:
            raise ConfigError(f"The unit of rewards must be a positive number, found {self.unit}.")

    @property
    def layout(self) -> Mapping[str, Leaf]:
        first, *rest = self.observation
        return {"x": Leaf((first + (self.past + _BESIDE if self.past else 0), *rest))}

    def seen(self, observation: Tensor, action: Tensor, reward: Tensor, first: Tensor) -> Features:
        """Features of steps (*lead,): observation (*lead, …), action (*lead, past), reward and first (*lead,)."""
        if not self.past:
            return observation
        told = reward[..., None] / self.unit
        beside = torch.cat([action, told, first[..., None].to(action.dtype)], -1).to(observation.dtype)
        if len(self.observation) == 3:
            return torch.cat([observation, beside[..., None, None].expand(*beside.shape, *self.observation[1:])], -3)
        return torch.cat([observation, beside], -1)

    def without_past(self, x: Features) -> Features:
        """Features (*lead, …) as `seen` makes them, with 0 for all that they tell of the step before."""
        if not self.past:
            return x
        axis = -len(self.observation)
        return map_features(
            lambda t: t.index_fill(axis, torch.arange(self.observation[0], t.shape[axis], device=t.device), 0), x
        )

    def flat(self) -> nn.Module:
        return FlatPlanes(self.observation[0]) if len(self.observation) == 3 else nn.Flatten()

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(as_numbers(records, features=True))

    @property
    def example(self) -> str:
        return "step"

    @property
    def shot(self) -> str:
        return "episode"

    @property
    def whole(self) -> str:
        return "environment"

    def draw(self, x: Features) -> Drawing | None:
        assert isinstance(x, Tensor)
        return row([""] * x.numel(), x.flatten().tolist()) if x.dim() == 1 else None
