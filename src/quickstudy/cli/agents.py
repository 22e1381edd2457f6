"""How agents are shown on the command line: their returns from one episode to the next, beside others'."""

from __future__ import annotations

from collections.abc import Sequence

from quickstudy.cli.parse import table
from quickstudy.evaluation.estimate import Estimate
from quickstudy.evaluation.result import Result
from quickstudy.report.acting import chosen_episodes, everyone, told


def compared(title: str, results: Sequence[tuple[str, Result]]) -> None:
    """Print returns: of each network, by what it is called, and of who else met the same tasks."""
    rows: list[list[str]] = []
    names: list[str] = []
    for network, result in results:
        names = names or chosen_episodes(list(result.further))
        steps = "" if result.steps is None else f", {result.steps} steps"
        met = everyone(network + steps, result)
        rows += [[who, *(told(result, each.get(n)) for n in (result.metric, *names)), _count(each[result.metric])]
                 for who, each in met.items() if not rows or who == network + steps]  # fmt: skip
    heads = [name.removeprefix("return in ") for name in names]
    table(title, ["agent", "return of an episode", *heads, "tasks"], rows)


def _count(one: Estimate) -> str:
    return str(one.count) if one.count else "computed"
