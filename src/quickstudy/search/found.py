"""What a search of networks has found: candidates, those that nothing beats, and the one that was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import numpy as np

from quickstudy.choosing.chosen import Figure
from quickstudy.errors import RunError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.runs.run import Run
from quickstudy.select.pareto import front
from quickstudy.space import Values
from quickstudy.storage.json import read_json
from quickstudy.targets.metric import Metric, metric_named
from quickstudy.tasks.base import Source

STATE = "search.json"


class Candidate(TypedDict):
    """A network that was looked at. milliseconds: for one example. score: the headline with shared weights, or after a
    short training where there are none; None where it was too slow to be asked, or failed: `error` says why. trained:
    the headline after a short training by itself, of the few that had one. Costs as in `Cost`."""

    point: dict[str, Any]
    milliseconds: float
    parameters: int
    operations: int
    score: float | None
    error: str
    trained: NotRequired[float | None]


class State(TypedDict):
    """A search as it is stored. config: the recipe, with the largest network if it leaves options of it `open`.
    reference: what all networks are timed beside: the recipe's, which then is `recipe`, too, or the largest, as `Cost`.
    spent: seconds of searching. members: those that one network is trained for, in `shared` seconds and so far `steps`.
    finalists: numbers of the candidates that are trained by themselves. chosen: the one that is trained at the end, for
    `final` seconds; cost: its own. What is not there yet is missing."""

    kind: str
    config: dict[str, Any]
    open: bool
    space: dict[str, Any]
    metric: str
    under: float | None
    minutes: float
    strategy: str
    seed: int
    spent: float
    steps: int
    candidates: list[Candidate]
    reference: NotRequired[dict[str, Any]]
    recipe: NotRequired[dict[str, Any] | None]
    members: NotRequired[list[dict[str, Any]]]
    shared: NotRequired[float]
    finalists: NotRequired[list[int]]
    chosen: NotRequired[dict[str, Any]]
    final: NotRequired[float]
    cost: NotRequired[dict[str, float]]
    run: NotRequired[str]
    validation: NotRequired[Figure]
    test: NotRequired[Figure | None]


@dataclass(frozen=True)
class Found:
    """A search that has ended, in its folder."""

    folder: Path
    source: Source | None = None

    @cached_property
    def state(self) -> State:
        if not (self.folder / STATE).exists():
            raise RunError(f"{self.folder} is no search of networks: it has no {STATE}. Give the folder of one.")
        return cast(State, read_json(self.folder / STATE, State))

    @property
    def metric(self) -> Metric:
        return metric_named(self.state["metric"])

    @property
    def model(self) -> Mapping[str, Any]:
        """The network, as a part: its name and options."""
        return cast(Mapping[str, Any], self.run.config.to_json()["model"])

    def _ended(self) -> State:
        if "run" not in self.state:
            raise RunError(
                f"The search in {self.folder} was stopped before its end. Go on with it: quickstudy search --resume "
                f"{self.folder}."
            )
        return self.state

    @property
    def milliseconds(self) -> float:
        """What it takes for one example on one thread, measured at the end."""
        return self._ended()["cost"]["milliseconds"]

    @cached_property
    def run(self) -> Run:
        """The network, trained."""
        return Run(self.folder / self._ended()["run"], source=self.source)

    @property
    def test(self) -> Estimate | None:
        """The headline on test tasks, which chose nothing; None where no class is held out for them."""
        found = self.state.get("test")
        return None if found is None else Estimate(**found)

    @property
    def front(self) -> list[Candidate]:
        """The candidates that no other beats in time and headline, the fastest first."""
        asked = [c for c in self.state["candidates"] if c["score"] is not None]
        scores = np.array([self.metric.goodness(cast(float, c["score"])) for c in asked])
        return [asked[i] for i in front(scores, np.array([c["milliseconds"] for c in asked]))]

    @property
    def finalists(self) -> list[Candidate]:
        """The candidates that were trained by themselves, the best when asked first."""
        return [self.state["candidates"][number] for number in self.state.get("finalists", [])]


def told(point: Values) -> str:
    """A network in words."""
    numbers = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in point.items()}
    return ", ".join(f"{name} {text}" for name, text in numbers.items())
