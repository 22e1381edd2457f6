"""What a search has found: a ranked list of what was tried, and the best of it, trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from quickstudy.choosing.record import Record, Trial
from quickstudy.errors import RunError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.runs.run import Run
from quickstudy.space import Space
from quickstudy.storage.json import read_json
from quickstudy.targets.metric import Metric, metric_named
from quickstudy.tasks.base import Source
from quickstudy.training.config import RunConfig

STATE = "choose.json"


class Figure(TypedDict):
    """An `Estimate`."""

    mean: float
    ci95: float
    count: int | None


def tested(run: Run, source: Source, episodes: int) -> Figure | None:
    """The headline of a run on so many test tasks, which chose nothing; None where no class is held out for them."""
    if source.classes("train") and not source.classes("test"):
        return None
    found = run.evaluate(episodes=episodes, compare_supports=False)
    return Figure(mean=found.mean, ci95=found.ci95, count=found.episodes)


class Best(TypedDict):
    """Where the best run lies, what it was chosen for, and what it reaches on test tasks, which chose nothing."""

    run: str
    trial: int
    point: dict[str, Any]
    validation: Figure
    test: Figure | None


class Begun(TypedDict):
    """A trial that is being trained to a rung."""

    trial: int
    rung: int
    point: dict[str, Any]


class State(TypedDict):
    """A search as it is stored. space: what there was to choose among. left_out: learners that could not learn the
    tasks, and why. first: seconds of a trial at rung 0. spent: seconds of searching. final: those that the best one is
    trained for at the end, from when that began."""

    kind: str
    config: dict[str, Any]
    metric: str
    space: dict[str, Any]
    left_out: dict[str, str]
    minutes: float
    first: float
    rungs: int
    seed: int
    strategy: str
    where: str
    workers: int
    bank: str
    spent: float
    begun: list[Begun]
    final: NotRequired[float]
    best: NotRequired[Best]
    advice: NotRequired[str]


@dataclass(frozen=True)
class Chosen:
    """A search that has ended, in its folder.

    source: tasks of the user's own, where they cannot be built from what is stored.
    """

    folder: Path
    source: Source | None = None

    @cached_property
    def state(self) -> State:
        path = self.folder / STATE
        if not path.exists():
            raise RunError(f"{self.folder} is no search: it has no {STATE}. Give the folder of one.")
        state: State = read_json(path, State)
        return state

    @property
    def config(self) -> RunConfig:
        """The recipe that it began with."""
        return RunConfig.from_json(self.state["config"])

    @cached_property
    def space(self) -> Space:
        """What there was to choose among."""
        return Space.from_json(self.state["space"])

    @property
    def metric(self) -> Metric:
        return metric_named(self.state["metric"])

    @cached_property
    def record(self) -> Record:
        return Record.read(self.folder, self.metric.higher_is_better)

    @property
    def ranking(self) -> list[Trial]:
        """What was tried, where it came furthest, the best first: what was trained longer before what was given up."""
        return self.record.latest

    @property
    def best(self) -> Best:
        if "best" not in self.state:
            raise RunError(f"The search in {self.folder} was stopped. Go on: quickstudy choose --resume {self.folder}")
        return self.state["best"]

    @property
    def advice(self) -> str:
        """Whether more search would pay."""
        return self.state.get("advice", "")

    @cached_property
    def run(self) -> Run:
        """The best run, trained for the rest of the time."""
        return Run(self.folder / self.best["run"], source=self.source)

    @property
    def test(self) -> Estimate | None:
        """The headline of the best run on test tasks; None where no class is held out for them."""
        found = self.best["test"]
        return None if found is None else Estimate(**found)
