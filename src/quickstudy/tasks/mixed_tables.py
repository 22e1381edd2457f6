"""Tasks on made-up tables of mixed columns: a prior over real tables, with classes or numbers to tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode, Examples
from quickstudy.errors import ConfigError
from quickstudy.hints import Size
from quickstudy.masked import one_hot
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling, presence
from quickstudy.tasks.made_up import MadeUpSource
from quickstudy.tasks.mixed_cells import as_cells, gaps_in, idle_columns, shuffled, sometimes, with_categories
from quickstudy.tasks.structure import HIDDEN, between, by_share, columns_of, nodes_of, standard

_SAMPLING = Sampling(ways=10, shots=64, queries=64)
_TREES, _DEPTH = 8, 3


@dataclass(frozen=True, kw_only=True)
class MixedTables(MadeUpSource):
    """Small tables with columns of several kinds, made by a random structural model a task. All splits are alike.

    The columns are those of the source 'structural'. Some become categories, some are shuffled so that they mean
    nothing, and in some there are gaps. The label is the class that the model began with (classes alone), or an effect:
    of the columns (linear, few or all of them), of nodes that are not shown, of decision trees over the columns, or of
    all three; with little noise or with more noise than effect. Numbers may be skewed or rounded. Classes, of which two
    are the most frequent number, are not equally frequent, and some labels are wrong.
    """

    columns: int
    spec: TaskSpec
    sampling: Sampling = _SAMPLING

    @property
    def balanced(self) -> bool:
        return False

    @property
    def repeats(self) -> bool:
        return True

    def sampled(self, sampling: Sampling) -> MixedTables:
        if not self.spec.target.relabels:
            return super().sampled(replace(sampling, ways=1, min_ways=None))
        if sampling.ways < 2:
            raise ConfigError(f"Tables have at least 2 classes, found ways={sampling.ways}.")
        return super().sampled(sampling)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        keys = self.keys(split, indices)
        each = iter(rng.split(keys, 80).unbind(-1))
        size, named = self.sampling, self.spec.target.relabels
        shots, ways = size.shots, max(size.ways, 2)
        rows = shots + size.queries
        _, given = presence(replace(size, ways=1, min_ways=None), next(each))
        mask = torch.arange(shots, device=self.device) < given
        present, limits = self._classes(ways, each)
        first = by_share(rng.uniform(next(each), (rows,)), limits)
        caused = (rng.uniform(next(each), (1,)) < 0.4) & named
        nodes, deep = nodes_of(torch.where(caused, first, -1), each, rows, ways)
        x, level = with_categories(columns_of(nodes, self.columns, each), each)
        idle = idle_columns(self.columns, each)
        scores = self._scores(torch.where(idle, 0.0, x), deep, ways if named else 1, each)
        if named:
            y = torch.where(caused, first, self._effects(scores, present, limits, each))
            y = self._spoiled(y, limits, each)
            names = rng.uniform(next(each), (ways,)).masked_fill(~present, 2.0).argsort(1).argsort(1)
            y = names.gather(1, y)  # which class is called 0 says nothing
            known = (one_hot(y[:, :shots], ways) & mask[..., None]).any(1)
            asked = known.gather(1, y[:, shots:])
        else:
            y = _bent(scores, each)
            asked = torch.ones((len(keys), size.queries), dtype=torch.bool, device=self.device)
        x, level = shuffled(x, level, idle, each)
        seen = torch.cat([mask, torch.zeros_like(asked)], dim=1)
        cells = as_cells(x, level, gaps_in(x, each), seen)
        return Episode(
            Examples(cells[:, :shots], y[:, :shots], mask),
            Examples(cells[:, shots:], y[:, shots:], asked),
        )

    def _classes(self, ways: int, each: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """Which classes there are, (T, N), and where the share of each ends, (T, N)."""
        least = self.sampling.min_ways or 2
        count = least + ((ways - least + 1) * rng.uniform(next(each), (1,)).square()).floor()
        present = torch.arange(ways, device=self.device) < count
        shares = (rng.normal(next(each), (ways,)) * rng.uniform(next(each), (1,), 0.0, 1.5)).exp() * present
        return present, (shares / shares.sum(1, keepdim=True)).cumsum(1)

    def _scores(self, x: Tensor, deep: Tensor, count: int, each: Iterator[Tensor]) -> Tensor:
        """(T, n, count): effects of the columns x, of the last nodes and of trees, or of one of them, with noise."""
        columns = x.shape[2]
        few = rng.uniform(next(each), (columns, 1)) < rng.uniform(next(each), (1, 1), 0.1, 1.5)
        linear = standard(x @ (rng.normal(next(each), (columns, count)) * few))
        shown = rng.uniform(next(each), (deep.shape[2], 1)) < rng.uniform(next(each), (1, 1), 0.02, 0.3)
        below = standard(standard(deep) @ (rng.normal(next(each), (deep.shape[2], count)) * shown))
        parts = torch.stack([linear, below, _trees(x, count, each)])  # (3, T, n, count)
        one = one_hot(rng.integers(next(each), 3), 3).to(x.dtype)
        several = rng.normal(next(each), (3,)).softmax(1)
        weights = torch.where(rng.uniform(next(each), (1,)) < 0.6, one, several)
        clean = standard((parts * weights.T[:, :, None, None]).sum(0))
        noise = 0.02 * 100 ** rng.uniform(next(each), (1, 1)).pow(1.5)
        return clean + noise * rng.normal(next(each), tuple(clean.shape[1:]))

    @staticmethod
    def _effects(scores: Tensor, present: Tensor, limits: Tensor, each: Iterator[Tensor]) -> Tensor:
        """(T, n): the class as the highest of the scores, or as the range in which the first of them lies."""
        highest = scores.masked_fill(~present[:, None], -torch.inf).argmax(2)
        ranks = (scores[:, :, 0].argsort(1).argsort(1) + 0.5) / scores.shape[1]
        return torch.where(rng.uniform(next(each), (1,)) < 0.4, highest, by_share(ranks, limits))

    @staticmethod
    def _spoiled(y: Tensor, limits: Tensor, each: Iterator[Tensor]) -> Tensor:
        """Labels of which some are drawn anew."""
        wrong = rng.uniform(next(each), (y.shape[1],)) < sometimes(0.25, 0.4, each)[:, 0]
        return torch.where(wrong, by_share(rng.uniform(next(each), (y.shape[1],)), limits), y)


def _trees(x: Tensor, count: int, each: Iterator[Tensor]) -> Tensor:
    """(T, n, count): sums of random decision trees, which ask the same questions all along a level."""
    tasks, rows = len(x), x.shape[1]
    varies = x.abs().amax(1) > 0
    order = varies.to(x.dtype).argsort(1, descending=True)  # columns that vary first
    pick = rng.integers(next(each), varies.sum(1).clamp(min=1)[:, None, None], (_TREES, _DEPTH))
    same = rng.uniform(next(each), (_TREES, _DEPTH)) < 0.5  # the question of the level above again: a smaller tree
    pick = torch.where(same, pick[:, :, :1], pick).flatten(1)
    asked = order.gather(1, pick)[:, None]
    cells = x.gather(2, asked.expand(-1, rows, -1))
    at = rng.integers(next(each), rows, (_TREES, _DEPTH))
    bounds = cells.gather(1, torch.where(same, at[:, :, :1], at).flatten(1)[:, None])
    answers = (cells > bounds).view(tasks, rows, _TREES, _DEPTH)
    leaf = (answers * 2 ** torch.arange(_DEPTH, device=x.device)).sum(3)
    values = rng.normal(next(each), (_TREES, 2**_DEPTH, count)) * between(next(each), 0.02, 1, (_TREES, 1, 1))
    said = torch.einsum("tnml,tmlc->tnc", one_hot(leaf, 2**_DEPTH).to(x.dtype), values)
    return standard(said)


def _bent(scores: Tensor, each: Iterator[Tensor]) -> Tensor:
    """(T, n, 1) of mean 0 and spread 1: some skewed, some with long tails, some rounded."""
    how, much = rng.uniform(next(each), (1, 1)), between(next(each), 0.2, 1.2)
    y = standard(scores)
    steep = y.clamp(-5, 5)
    y = torch.where(how < 0.2, (much * steep).exp(), torch.where(how < 0.3, torch.sinh(much * steep), y))
    y = standard(y)
    return standard(torch.where((how > 0.3) & (how < 0.45), (y / much).round() * much, y))


@sources.register("mixed_tables")
def mixed_tables(*, columns: Size = 32, target: str = "classes") -> MixedTables:
    """Made-up tables of numbers, categories and gaps, by random models.

    They are a prior that a network for real tables can be trained on. A task has 2 to `ways` classes, or numbers to
    tell; shots and queries count rows.

    columns: the most in a table. target: 'classes' or 'numbers'.
    """
    if columns > 3 * HIDDEN:
        raise ConfigError(f"columns must lie between 1 and {3 * HIDDEN}, found {columns}.")
    asked = targets.make(target)
    if asked.relabels:
        asked = asked.at(_SAMPLING.ways)
    spec = TaskSpec(formats.make("table", columns=columns, mixed=True), asked)
    return MixedTables(columns=columns, spec=spec, sampling=_SAMPLING if asked.relabels else replace(_SAMPLING, ways=1))
