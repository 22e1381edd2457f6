"""The support set of an agent that takes inner steps: each has episodes of its own, in rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from quickstudy.episode import Examples, map_features
from quickstudy.errors import DataError
from quickstudy.rl.returns import Total, standardised
from quickstudy.traced import traced


def joined(target: Any, parts: Sequence[Examples], lanes: int) -> Examples:
    """All inner steps' examples, leaves (T, steps · n, …), of leaves (T, n, …): the episodes of each step, which are
    numbered from 0 to `lanes`, are counted on."""
    y = []
    for step, part in enumerate(parts):
        told = target.outcome(part.y)
        y.append(target.label(*told._replace(episode=torch.where(part.mask, told.episode + step * lanes, 0.0))))
    x = map_features(lambda *t: torch.cat(t, 1), *(part.x for part in parts))
    return Examples(x, torch.cat(y, 1), torch.cat([part.mask for part in parts], 1))


def part_of(support: Examples, steps: int, step: Tensor) -> Examples:
    """The rows of one of `steps` inner steps, (n / steps, …). step: () int64; beyond the last, the last's."""

    def own(t: Tensor) -> Tensor:
        return t.view(steps, -1, *t.shape[1:]).index_select(0, step.clamp(max=steps - 1).view(1))[0]

    return Examples(map_features(own, support.x), own(support.y), own(support.mask))


def by_steps(target: Any, support: Examples, steps: int) -> Examples:
    """The same steps so that each of `steps` inner steps has equally many episodes, and each episode equally many rows.

    They are divided by the numbers of the episodes in the labels; one that ends early is padded, to the longest that is
    there: as the horizon is not known here, inner steps are longer than on what agents collect where none reached it.
    What is so already, as agents collect it, stays as it is. Raises DataError, naming both numbers, where the episodes
    cannot be divided.

    Only where values may be looked at: within `vmap` or a graph, rows are trusted to be so.
    """
    rows = len(support.mask)
    if traced(support.y):
        if rows % steps:
            raise DataError(
                f"The support set has {rows} rows, which cannot be divided among {steps} inner steps. Give each of "
                "them equally many, padding episodes that end early."
            )
        return support
    real = support.mask.nonzero()[:, 0]
    numbers, place, counts = target.outcome(support.y).episode[real].unique(return_inverse=True, return_counts=True)
    found = len(numbers)
    if not found or found % steps:
        raise DataError(
            f"The support set has {found} episodes, which cannot be divided among {steps} inner steps. Give each of "
            "them equally many."
        )
    if rows % found == 0 and bool((place == real // (rows // found)).all()):
        return support
    longest = int(counts.max())
    order = place.sort(stable=True).indices
    within = torch.arange(len(real), device=real.device) - (counts.cumsum(0) - counts)[place[order]]
    to, source = place[order] * longest + within, real[order]

    def laid(t: Tensor) -> Tensor:
        return t.new_zeros(found * longest, *t.shape[1:]).index_copy(0, to, t[source])

    return Examples(map_features(laid, support.x), laid(support.y), laid(support.mask))


def nothing_of(query: Examples) -> Examples:
    """A support set without a step, for tasks (T, …) as the query set has them."""
    x = map_features(lambda t: t[:, :1], query.x)
    return Examples(x, query.y[:, :1], torch.zeros_like(query.mask[:, :1]))


def credited(target: Any, support: Examples, query: Examples, total: Total) -> Examples:
    """The support sets (T, …) of tasks, whose steps know how well their task was done in the end: by the value of their
    label, the return after the last inner step in deviations from the mean over tasks."""
    gained = target.outcome(query.y).reward.sum(1)
    credit = standardised(gained, torch.ones_like(gained, dtype=torch.bool), total)
    told = target.outcome(support.y)
    return support._replace(y=target.label(*told._replace(value=credit[:, None].expand_as(told.value))))
