"""Classification tasks on small tables that random structural models make up: a prior over tables."""

from __future__ import annotations

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
from quickstudy.tasks.structure import HIDDEN, between, by_share, columns_of, nodes_of, standard

_SAMPLING = Sampling(ways=10, shots=64, queries=64)


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
        first = by_share(rng.uniform(next(each), (rows,)), limits)

        caused = rng.uniform(next(each), (1,)) < 0.6
        nodes, deep = nodes_of(torch.where(caused, first, -1), each, rows, ways)
        x = columns_of(nodes, self.columns, each)
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

    def _effects(self, x: Tensor, deep: Tensor, present: Tensor, limits: Tensor, each: Iterator[Tensor]) -> Tensor:
        """(T, n): the class as the highest of random scores, or as the range in which the first of them lies.

        Scores are linear in the columns x or in the last layer, with some noise.
        """
        ways = present.shape[1]
        shallow = standard(x @ rng.normal(next(each), (x.shape[2], ways)))
        below = standard(standard(deep) @ rng.normal(next(each), (deep.shape[2], ways)))
        scores = torch.where(rng.uniform(next(each), (1, 1)) < 0.6, shallow, below)
        scores = scores + between(next(each), 0.01, 0.5) * rng.normal(next(each), tuple(scores.shape[1:]))
        highest = scores.masked_fill(~present[:, None], -torch.inf).argmax(2)
        ranks = (scores[:, :, 0].argsort(1).argsort(1) + 0.5) / scores.shape[1]
        return torch.where(rng.uniform(next(each), (1,)) < 0.5, highest, by_share(ranks, limits))


@sources.register("structural")
def structural(*, columns: int = 64) -> StructuralSource:
    """Classification: small tables, made up by random structural models.

    They are a prior that a network for real tables can be trained on. A task has 2 to `ways` classes; shots and
    queries count rows.

    columns: the most numbers in a row.
    """
    if not 1 <= columns <= 3 * HIDDEN:
        raise ConfigError(f"columns must lie between 1 and {3 * HIDDEN}, found {columns}.")
    spec = TaskSpec(formats.make("table", columns=columns), targets.make("classes", ways=_SAMPLING.ways))
    return StructuralSource(columns=columns, spec=spec)
