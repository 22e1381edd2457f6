"""Two-class tasks: points on the two sides of a random hyperplane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples
from quickstudy.errors import ConfigError
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, masks
from quickstudy.tasks.made_up import MadeUpSource

_PLANE, _POINTS, _HEIGHTS, _SIZES = range(4)
_SAMPLING = Sampling(ways=2, shots=5, queries=15)


@dataclass(frozen=True, kw_only=True)
class LinearSource(MadeUpSource):
    """Tasks 'is n.x > b?' with x ~ N(0, I), exactly K + Q points of each class. All splits are alike."""

    dimensions: int
    spec: TaskSpec
    sampling: Sampling = _SAMPLING

    def sampled(self, sampling: Sampling) -> LinearSource:
        if sampling.ways != 2:
            raise ConfigError(f"A hyperplane has two sides, so 'linear' tasks are 2-way; found ways={sampling.ways}.")
        return super().sampled(sampling)

    def planes(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Unit normals n (T, D) and offsets b (T,) of the tasks; class 1 is where n.x > b."""
        keys = rng.fold(self.keys(split, indices), _PLANE)
        normal = rng.normal(keys, (self.dimensions,))
        return normal / normal.norm(dim=1, keepdim=True), rng.uniform(rng.fold(keys, 1), (), -1.0, 1.0)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys, (shots, queries) = self.keys(split, indices), (self.sampling.shots, self.sampling.queries)
        normal, offset = self.planes(split, indices)
        each = (2, shots + queries)
        # Along the normal x is N(0, 1) cut off at b: the inverse distribution function gives either tail from one draw.
        u = rng.uniform(rng.fold(keys, _HEIGHTS), each).double().clamp(1e-6, 1 - 1e-6)
        below = torch.special.ndtr(offset.double())[:, None]
        height = torch.special.ndtri(torch.stack([u[:, 0] * below, below + u[:, 1] * (1 - below)], dim=1)).float()
        x = rng.normal(rng.fold(keys, _POINTS), (*each, self.dimensions))
        across = (x * normal[:, None, None]).sum(dim=-1)
        x = x + (height - across)[..., None] * normal[:, None, None]
        y = torch.arange(2, device=self.device)[:, None].expand(len(keys), *each)
        seen, asked = masks(self.sampling, rng.fold(keys, _SIZES))

        def part(start: int, stop: int, mask: Tensor) -> Examples:
            flat = (len(keys), 2 * (stop - start))
            return Examples(
                x[:, :, start:stop].reshape(*flat, -1), y[:, :, start:stop].reshape(flat), mask.reshape(flat)
            )

        return Episode(part(0, shots, seen), part(shots, shots + queries, asked))


@sources.register("linear")
def linear(*, dimensions: int = 2) -> LinearSource:
    """Two classes separated by a random hyperplane.

    The normal n is uniform on the unit sphere in `dimensions` dimensions and the offset b uniform in [-1, 1]. The
    points of a class follow N(0, I) exactly, conditioned on their side of n.x = b.

    dimensions: how many numbers a point has.

    Raises ConfigError for other than two ways.
    """
    if dimensions < 1:
        raise ConfigError(f"dimensions must be at least 1, found {dimensions}.")
    spec = TaskSpec(formats.make("array", shape=(dimensions,)), targets.make("classes", ways=2))
    return LinearSource(dimensions=dimensions, spec=spec)
