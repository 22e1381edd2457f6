"""The Bayes-optimal value of Bernoulli bandits, by dynamic programming over what has been seen."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor


def bernoulli_optimal(arms: int, pulls: int) -> float:
    """The expected sum of so many pulls of the best agent, where each arm's probability is uniform in [0, 1].

    What has been seen of an arm are its successes and failures, and the chance of a success then is (s + 1) / (s + f +
    2). All ways in which t pulls can have gone are valued from the last pull to the first: of 5 arms and 10 pulls,
    184,756. In float64. Arms beyond the number of pulls add nothing.
    """
    parts, value, known = 2 * min(arms, pulls), torch.zeros(1, dtype=torch.float64), None
    for count in range(pulls, -1, -1):
        rows = _compositions(count, parts)
        if count < pulls:
            assert known is not None
            successes, failures = rows[:, ::2].double(), rows[:, 1::2].double()
            chance = (successes + 1) / (successes + failures + 2)
            after = [value[torch.searchsorted(known, _code(rows + _unit(i, parts), pulls))] for i in range(parts)]
            won, lost = torch.stack(after[::2], 1), torch.stack(after[1::2], 1)
            value = (chance * (1 + won) + (1 - chance) * lost).amax(1)
        else:
            value = torch.zeros(len(rows), dtype=torch.float64)
        codes = _code(rows, pulls)
        known, order = codes.sort()
        value = value[order]
    return float(value)


def _compositions(total: int, parts: int) -> Tensor:
    """All ways to share `total` among so many parts, (n, parts) int64."""
    bars = torch.tensor(list(combinations(range(total + parts - 1), parts - 1)), dtype=torch.int64)
    bars = bars.view(-1, parts - 1)
    edges = torch.full((len(bars), 1), -1), torch.full((len(bars), 1), total + parts - 1)
    return torch.cat([edges[0], bars, edges[1]], 1).diff(dim=1) - 1


def _code(rows: Tensor, most: int) -> Tensor:
    """A number for each row of numbers up to `most`."""
    base = (most + 1) ** torch.arange(rows.shape[1])
    return (rows * base).sum(1)


def _unit(index: int, size: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(index), size)
