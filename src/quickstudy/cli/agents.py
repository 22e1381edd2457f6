"""How agents are shown on the command line: their returns from one episode to the next, beside others'."""

from __future__ import annotations

from collections.abc import Sequence

from quickstudy.cli.parse import table
from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.result import Result

_SHOWN = (0, 1, 2, 4, 9, 19, 49, 99, 199, 499)  # episodes, from 0
_MOST = 5  # columns of them


def compared(title: str, results: Sequence[tuple[str, Result]]) -> None:
    """Print returns: of each network, by what it is called, and of who else met the same tasks."""
    rows: list[list[str]] = []
    names: list[str] = []
    for network, result in results:
        names = names or _chosen(list(result.further))
        steps = "" if result.steps is None else f", {result.steps} steps"
        own = {result.metric: Estimate(result.mean, result.ci95, result.episodes)} | result.further
        everyone = {network + steps: own} | ({} if rows else result.references)
        rows += [[who, *(_told(result, each.get(n)) for n in (result.metric, *names)), _count(each[result.metric])]
                 for who, each in everyone.items()]  # fmt: skip
    heads = [name.removeprefix("return in ") for name in names]
    table(title, ["agent", "return of an episode", *heads, "tasks"], rows)


def _chosen(names: Sequence[str]) -> list[str]:
    """The episodes that have a column: the first few, some later ones, and the last."""
    known = [i for i in _SHOWN if i < len(names) - 1]
    return [names[i] for i in [*known[: _MOST - 1], len(names) - 1]] if names else []


def _told(result: Result, one: Estimate | None) -> str:
    if one is None:
        return ""
    return result.figure.interval(one.mean, one.ci95) if one.count else result.figure.number(one.mean)


def _count(one: Estimate) -> str:
    return str(one.count) if one.count else "computed"
