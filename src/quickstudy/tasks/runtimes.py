"""Regression tasks from algorithm selection: what an algorithm loses against the others, on made-up scenarios."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quickstudy import rng
from quickstudy.episode import Episode
from quickstudy.errors import ConfigError
from quickstudy.registry import formats, sources, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks.base import Sampling
from quickstudy.tasks.made_up import FunctionSource
from quickstudy.tasks.structure import HIDDEN, between, columns_of, nodes_of, standard

_SAMPLING = Sampling(ways=1, shots=64, queries=32)
_SIZES = 41


@dataclass(frozen=True, kw_only=True)
class RunTimeSource(FunctionSource):
    """Scenarios of algorithm selection, made up: rows are instances, columns their features. All splits are alike.

    Features are nodes of a random structural model (as of the source 'structural'). The logarithm of an algorithm's run
    time on an instance is how hard that is for all, what is its own (of smooth parts of features and nodes, and of
    steps: an algorithm may be good on one side of them only), and noise. Runs above a quantile of all are stopped, and
    count ten times as long (PAR10). The target is what the first algorithm loses against the mean of all, in cutoffs.
    """

    columns: int
    algorithms: int
    spec: TaskSpec
    sampling: Sampling = _SAMPLING

    def times(self, split: str, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Features (T, n, columns), and PAR10 (T, n, algorithms) in cutoffs, of all instances of these tasks."""
        keys = self.keys(split, indices)
        each = iter(rng.split(keys, 60).unbind(-1))
        rows, count = self.sampling.shots + self.sampling.queries, self.algorithms
        first = torch.full((len(keys), rows), -1, dtype=torch.long, device=self.device)
        nodes, deep = nodes_of(first, each, rows, 1)
        x = columns_of(nodes, self.columns, each)

        def mixed(of: Tensor, outputs: int) -> Tensor:
            """Random linear functions of a few of the columns of `of`, (T, n, outputs)."""
            width = of.shape[2]
            weights = rng.normal(next(each), (width, outputs)) * (rng.uniform(next(each), (width, outputs)) < 0.3)
            return standard(standard(of) @ weights)

        hard = mixed(deep, 1) * between(next(each), 0.2, 1.5)
        smooth = mixed(deep, count) + mixed(x, count)
        steps = mixed(x, count).sign() + (mixed(deep, count) > 0.7)
        own = smooth * between(next(each), 0.1, 1.0) + steps * between(next(each), 0.1, 1.5)
        level = rng.normal(next(each), (1, count)) * between(next(each), 0.1, 0.6)
        noise = rng.normal(next(each), (rows, count)) * between(next(each), 0.05, 0.7)
        seconds = hard + own + level + noise  # decadic logarithms
        share = rng.uniform(next(each), (1,), 0.4, 0.95)
        order = seconds.flatten(1).sort(1).values
        cutoff = order.gather(1, (share * (order.shape[1] - 1)).long())[..., None]
        return x, torch.where(seconds <= cutoff, 10.0 ** (seconds - cutoff), 10.0)

    def episodes(self, split: str, indices: Tensor) -> Episode:
        x, times = self.times(split, indices)
        lost = times[:, :, :1] - times.mean(2, keepdim=True)
        return self.points(x, lost, rng.fold(self.keys(split, indices), _SIZES))


@sources.register("runtimes")
def runtimes(*, columns: int = 32, algorithms: int = 8) -> RunTimeSource:
    """Regression: what an algorithm loses against others, on made-up scenarios.

    They are a prior for networks that select algorithms.

    columns: the most features. algorithms: that an instance's loss is against, itself among them.
    """
    if not 1 <= columns <= 3 * HIDDEN:
        raise ConfigError(f"columns must lie between 1 and {3 * HIDDEN}, found {columns}.")
    if algorithms < 2:
        raise ConfigError(f"algorithms must be at least 2, found {algorithms}.")
    spec = TaskSpec(formats.make("table", columns=columns), targets.make("numbers"))
    return RunTimeSource(columns=columns, algorithms=algorithms, spec=spec)
