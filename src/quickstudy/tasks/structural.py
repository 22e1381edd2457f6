"""Classification tasks on small tables that random structural models make up: a prior over tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples
from quickstudy.errors import ConfigError
from quickstudy.masked import one_hot
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, presence
from quickstudy.tasks.made_up import MadeUpSource

_HIDDEN = 32  # nodes of each of the three layers of a model
_CLUSTERS = 3  # at most, of one class
_SAMPLING = Sampling(ways=10, shots=64, queries=64)


def _between(key: Tensor, low: float, high: float, shape: tuple[int, ...] = ()) -> Tensor:
    """Even in the logarithm, one number a task: (T, 1, 1) unless a shape is given."""
    drawn = rng.uniform(key, shape or (1, 1), math.log(low), math.log(high))
    return drawn.exp()


def _bent(h: Tensor, key: Tensor) -> Tensor:
    """One of five functions, another for each task; h (T, n, H)."""
    kind = rng.integers(key, 5, (1, 1))
    bent = torch.where(
        kind == 1, h.relu(), torch.where(kind == 2, h.abs(), torch.where(kind == 3, torch.sin(2 * h), h))
    )
    return torch.where(kind == 0, torch.tanh(h), bent)


def _standard(h: Tensor) -> Tensor:
    """Every column of h (T, n, H) with mean 0 and spread 1."""
    return (h - h.mean(1, keepdim=True)) / h.std(1, keepdim=True).clamp(min=1e-4)


@dataclass(frozen=True, kw_only=True)
class StructuralSource(MadeUpSource):
    """Small tables: rows of numbers with a class each, made by a random structural model a task. All splits are alike.

    Three layers of nodes, each a random function of the layer before, with noise; the columns are nodes drawn at
    random, some of them rounded or stretched. Three in five tasks begin with the class, which sets the centre of
    the first layer (several for some classes); in the others the class is an effect: the highest of random scores, or
    the range in which one lies (in the spirit of Hollmann et al. 2023). Shots and queries count rows; the classes of a
    task, 2 to `ways`, are not equally frequent. Queries of classes without support do not count.
    """

    columns: int
    spec: TaskSpec
    sampling: Sampling = _SAMPLING

    @property
    def balanced(self) -> bool:
        return False

    def sampled(self, sampling: Sampling) -> StructuralSource:
        if sampling.ways < 2:
            raise ConfigError(f"Tables have at least 2 classes, found ways={sampling.ways}.")
        return super().sampled(sampling)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys = self.keys(split, indices)
        each = iter(rng.split(keys, 40).unbind(-1))
        size, ways = self.sampling, self.sampling.ways
        rows, shots = size.shots + size.queries, size.shots
        classes = (size.min_ways or 2) + rng.integers(next(each), ways - (size.min_ways or 2) + 1, (1,))
        present = torch.arange(ways, device=self.device) < classes
        shares = (rng.normal(next(each), (ways,)) * rng.uniform(next(each), (1,))).exp() * present
        limits = (shares / shares.sum(1, keepdim=True)).cumsum(1)
        first = self._by_share(rng.uniform(next(each), (rows,)), limits)

        caused = rng.uniform(next(each), (1,)) < 0.6
        nodes, deep = self._model(torch.where(caused, first, -1), each, rows)
        x = self._columns(nodes, each)
        y = torch.where(caused, first, self._effects(x, deep, present, limits, each))
        names = rng.uniform(next(each), (ways,)).masked_fill(~present, 2.0).argsort(1).argsort(1)
        y = names.gather(1, y)  # which class is called 0 says nothing

        _, given = presence(replace(size, ways=1, min_ways=None), next(each))
        mask = torch.arange(shots, device=self.device) < given
        known = (one_hot(y[:, :shots], ways) & mask[..., None]).any(1)
        return Episode(
            Examples(x[:, :shots], y[:, :shots], mask),
            Examples(x[:, shots:], y[:, shots:], known.gather(1, y[:, shots:])),
        )

    @staticmethod
    def _by_share(u: Tensor, limits: Tensor) -> Tensor:
        """The class of each number u (T, n) in [0, 1), where classes end at `limits` (T, N)."""
        return (u[:, :, None] >= limits[:, None]).sum(2).clamp(max=limits.shape[1] - 1)

    def _model(self, first: Tensor, each: Iterator[Tensor], rows: int) -> tuple[Tensor, Tensor]:
        """All nodes (T, n, 3H), and those of the last layer. first: the class (T, n) it begins with, −1 for none."""
        ways, size = self.sampling.ways, _HIDDEN
        active = torch.arange(size, device=self.device) < _between(next(each), 2, size + 1).floor()
        centres = rng.normal(next(each), (ways * _CLUSTERS, size)) * _between(next(each), 1, 8)
        clusters = 1 + rng.integers(next(each), _CLUSTERS, (2,)).amin(1, keepdim=True)
        which = first.clamp(min=0) * _CLUSTERS + rng.integers(next(each), clusters, (rows,))
        centre = centres.gather(1, which[:, :, None].expand(-1, -1, size))
        spread = _between(next(each), 0.3, 1.5, (1, size))
        h = rng.normal(next(each), (rows, size)) * spread + torch.where(first[:, :, None] >= 0, centre, 0.0)
        h = h * active
        layers = [h]
        for _ in range(2):
            weights = rng.normal(next(each), (size, size)) * (rng.uniform(next(each), (size, size)) < 0.4)
            h = _standard(h @ weights) + rng.normal(next(each), (1, size))
            h = _bent(h, next(each))
            h = h + _between(next(each), 0.005, 0.2) * rng.normal(next(each), (rows, size))
            layers.append(h)
        return torch.cat(layers, dim=2), h

    def _effects(self, x: Tensor, deep: Tensor, present: Tensor, limits: Tensor, each: Iterator[Tensor]) -> Tensor:
        """(T, n): the class as the highest of random scores, or as the range in which the first of them lies.

        Scores are linear in the columns x or in the last layer, with some noise.
        """
        ways = present.shape[1]
        shallow = _standard(x @ rng.normal(next(each), (x.shape[2], ways)))
        below = _standard(_standard(deep) @ rng.normal(next(each), (deep.shape[2], ways)))
        scores = torch.where(rng.uniform(next(each), (1, 1)) < 0.6, shallow, below)
        scores = scores + _between(next(each), 0.01, 0.5) * rng.normal(next(each), tuple(scores.shape[1:]))
        highest = scores.masked_fill(~present[:, None], -torch.inf).argmax(2)
        ranks = (scores[:, :, 0].argsort(1).argsort(1) + 0.5) / scores.shape[1]
        return torch.where(rng.uniform(next(each), (1,)) < 0.5, highest, self._by_share(ranks, limits))

    def _columns(self, nodes: Tensor, each: Iterator[Tensor]) -> Tensor:
        """(T, n, columns): nodes drawn at random, some rounded, some stretched; columns that a task lacks are 0."""
        chosen = rng.choose(next(each), torch.tensor(nodes.shape[2]), self.columns)
        x = _standard(nodes.gather(2, chosen[:, None].expand(-1, nodes.shape[1], -1)))
        how = rng.uniform(next(each), (1, self.columns))
        steps = _between(next(each), 0.3, 2, (1, self.columns))
        x = torch.where(how < 0.2, (x / steps).round() * steps, torch.where(how > 0.85, x.clamp(max=4).exp(), x))
        count = _between(next(each), 2, self.columns + 1).floor()
        return _standard(x) * (torch.arange(self.columns, device=self.device) < count)


@sources.register("structural")
def structural(*, columns: int = 64) -> StructuralSource:
    """Classification: small tables, made up by random structural models.

    They are a prior that a network for real tables can be trained on. A task has 2 to `ways` classes; shots and
    queries count rows.

    columns: the most numbers in a row.
    """
    if not 1 <= columns <= 3 * _HIDDEN:
        raise ConfigError(f"columns must lie between 1 and {3 * _HIDDEN}, found {columns}.")
    spec = TaskSpec(formats.make("table", columns=columns), targets.make("classes", ways=_SAMPLING.ways))
    return StructuralSource(columns=columns, spec=spec)
