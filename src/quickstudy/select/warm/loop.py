"""A whole search: proposals, trials, and what came of them."""

from __future__ import annotations

from collections.abc import Callable

from quickstudy.registry import Part
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.search import DEFAULT, Search
from quickstudy.select.warm.strategy import Strategy
from quickstudy.space import Space, Values

Objective = Callable[[Values], float | None]
"""From a point to its loss."""


def minimise(
    objective: Objective,
    space: Space,
    trials: int,
    *,
    experience: Experience | None = None,
    strategy: str | Part[Strategy] = DEFAULT,
    seed: int = 0,
) -> Search:
    """Try `trials` points of a space, or all that it has, and return the search; its `best` is what was found.

    objective: the loss of a point, the lower the better. Where it gives None or NaN, or raises an exception, the trial
    failed, and the search goes on; `Trial.remark` has the exception.

    >>> from quickstudy.space import Range
    >>> minimise(lambda v: (v["x"] - 3) ** 2, Space({"x": Range(0, 7)}), 8, strategy="random").best.values
    {'x': 3}
    """
    search = Search(space, experience, strategy, seed)
    while len(search.trials) < trials and not search.exhausted:
        values = search.propose()
        try:
            loss, remark = objective(dict(values)), ""
        except Exception as error:  # the user's code: whatever it raises is a trial that failed
            loss, remark = None, f"{type(error).__name__}: {error}"
        search.tell(values, loss, remark)
    return search
