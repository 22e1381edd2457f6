"""A search that is asked and told, and `minimise`, which does both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

import numpy as np

from quickstudy.errors import ConfigError, DataError
from quickstudy.registry import Part, strategies
from quickstudy.select.warm.experience import Experience
from quickstudy.select.warm.strategy import MANY, Strategy, Tried
from quickstudy.space import Describe, Points, Space, Values, key
from quickstudy.storage.json import read_json, write_json
from quickstudy.storage.tensors import checksum

DEFAULT = "surfaces"
FALLBACK = "gp"
"""What goes on where a strategy needs experience and there is none."""


@dataclass(frozen=True)
class Trial:
    """A point that was tried. loss: None where it failed. remark: why, where that is known."""

    values: Values
    loss: float | None
    remark: str = ""

    @cached_property
    def key(self) -> str:
        return key(self.values)


class _TrialJson(TypedDict):
    values: dict[str, Any]
    loss: float | None
    remark: str


class _State(TypedDict):
    kind: str
    space: dict[str, Any]
    strategy: str
    options: dict[str, Any]
    experience: str
    seed: int
    asked: int
    trials: list[_TrialJson]
    pending: list[dict[str, Any]]
    only: list[dict[str, Any]] | None
    described: NotRequired[str]
    prepared: NotRequired[int]


@dataclass
class Search:
    """Which point of a space to try next: `propose` says, `tell` hears what came of it.

    strategy: its name in `quickstudy.registry.strategies`, or a part of it with options. only: points to choose from,
    where not all of the space can be asked for. A proposal is a function of
    the seed, its number and all that was told, so a search that was stored goes on as if it had not been. prepared: the
    seed of what is learned of past tasks and of the points that are drawn to choose from; `seed` if not given.

    >>> from quickstudy.space import Range
    >>> search = Search(Space({"x": Range(0.0, 1.0)}), strategy="random")
    >>> search.tell(search.propose(), 0.3)
    >>> search.best.loss
    0.3
    """

    space: Space
    experience: Experience | None = None
    strategy: str | Part[Strategy] = DEFAULT
    seed: int = 0
    trials: list[Trial] = field(default_factory=list)
    pending: list[Values] = field(default_factory=list)
    asked: int = 0
    only: Sequence[Values] | None = None
    prepared: int | None = None

    def __post_init__(self) -> None:
        if not self.space.axes:
            raise ConfigError("A search over a space without options has nothing to choose. Give it some.")
        if self.experience is not None and self.experience.space != self.space:
            raise DataError("The experience is of another space than the search. Give that of this space.")

    @cached_property
    def part(self) -> Part[Strategy]:
        """The strategy that goes by: the one asked for, or `gp` where it has no experience to go by."""
        part = strategies.part(self.strategy) if isinstance(self.strategy, str) else self.strategy
        needs = strategies.traits(part.name).experienced
        return strategies.part(FALLBACK) if needs and not self._past.useful else part

    @property
    def remark(self) -> str:
        """What is otherwise than asked for; empty where nothing is."""
        name = self.strategy if isinstance(self.strategy, str) else self.strategy.name
        if name == self.part.name:
            return ""
        return f"{name} needs experience and there is none, so {FALLBACK} goes on in its place."

    @property
    def best(self) -> Trial:
        """The trial with the least loss, the earliest of equal ones; DataError where none finished."""
        finished = [trial for trial in self.trials if trial.loss is not None]
        if not finished:
            raise DataError(f"Of {len(self.trials)} trials none finished. Look at what they said.")
        return min(finished, key=lambda trial: trial.loss if trial.loss is not None else math.inf)

    @cached_property
    def _searched(self) -> Space:
        return self.space if self.only is None else Points.of(self.space, self.only)

    def again(self, seed: int) -> Self:
        """A search from the start with another seed. What this one learned of past tasks, and the points that it
        drew to choose from, are shared, not made anew."""
        other = replace(self, seed=seed, trials=[], pending=[], asked=0, prepared=self._seed)
        other.__dict__["_prepared"] = self._prepared
        return other

    @property
    def exhausted(self) -> bool:
        """Whether every point of the space was tried, or every point of `only`."""
        known = {trial.key for trial in self.trials}
        space, listed = self._searched, self._listed
        return len(known) >= space.count if listed is None else len(known & listed) >= len(listed)

    @cached_property
    def _listed(self) -> set[str] | None:
        """The keys of all points, where these are fewer than the space's values, or the space's are not all."""
        space = self._searched
        if self.only is None and (not space.conditions or space.count > MANY):
            return None
        return {key(point) for point in space.points()}

    def propose(self) -> Values:
        """The next point to try. Asked again before it is told of the last, it proposes another."""
        rng = np.random.default_rng([self.seed, self.asked])
        values = self._strategy.propose(self._prepared, self._searched, self._tried(), rng)
        self.asked += 1
        self.pending.append(values)
        return dict(values)

    def tell(self, values: Values, loss: float | None, remark: str = "") -> None:
        """What came of a point; None, NaN or an infinite loss where the trial failed. It need not have been proposed.

        Raises ConfigError for what is no point of the space.
        """
        self.space.check(values)
        settled = self.space.settled(dict(values))
        failed = loss is None or not math.isfinite(loss)
        self.trials.append(Trial(settled, None if failed else float(loss or 0.0), remark))
        self.pending = _without(self.pending, settled)

    def learned(self, name: str) -> Experience:
        """The experience with this search's trials as those of the task `name`: what the next search starts from."""
        return self._past.task(name, [t.values for t in self.trials], [t.loss for t in self.trials])

    def save(self, path: str | Path) -> None:
        """Write what goes on: JSON. The experience is not in it, nor how points are described, but checksums of them.

        Raises ConfigError for a strategy with an option that is a function.
        """
        trials: list[_TrialJson] = [{"values": t.values, "loss": t.loss, "remark": t.remark} for t in self.trials]
        part = strategies.part(self.strategy) if isinstance(self.strategy, str) else self.strategy
        if given := next((name for name, value in part.options.items() if callable(value)), None):
            raise ConfigError(f"{given}= is a function, which JSON does not hold. Leave it out to store this search.")
        state: _State = {
            "kind": "search", "space": self.space.to_json(), "strategy": part.name, "options": part.options,
            "experience": _digest(self._past), "seed": self.seed, "asked": self.asked, "trials": trials,
            "pending": self.pending, "only": None if self.only is None else list(self._searched.points()),
            "described": _look(self.space), "prepared": self._seed,
        }  # fmt: skip
        write_json(Path(path), state)

    @classmethod
    def load(cls, path: str | Path, experience: Experience | None = None, describe: Describe | None = None) -> Self:
        """A search that `save` wrote, with the experience and the description of points that it had (see
        `Space.described`). Raises DataError where it had others."""
        state: _State = read_json(Path(path), _State)
        space = Space.from_json(state["space"])
        space = space if describe is None else space.described(describe)
        if _look(space) != state.get("described", ""):
            raise DataError(f"The search {path} had another description of points. Give what it had as describe=.")
        if _digest(experience or Experience(space)) != state["experience"]:
            raise DataError(f"The search {path} had other experience. Give what it had.")
        return cls(
            space, experience, strategies.part(state["strategy"], **state["options"]), state["seed"],
            [Trial(_point(t["values"]), t["loss"], t["remark"]) for t in state["trials"]],
            [_point(values) for values in state["pending"]], state["asked"],
            None if state["only"] is None else [_point(values) for values in state["only"]],
            state.get("prepared"),
        )  # fmt: skip

    @cached_property
    def _past(self) -> Experience:
        return self.experience if self.experience is not None else Experience(self.space)

    @property
    def _seed(self) -> int:
        return self.seed if self.prepared is None else self.prepared

    @cached_property
    def _strategy(self) -> Strategy:
        return self.part.build()

    @cached_property
    def _prepared(self) -> Any:
        seen_alike = replace(self._past, space=self.space)
        return self._strategy.prepare(self._searched, seen_alike, self._seed)

    def _tried(self) -> Tried:
        finished = [trial.loss for trial in self.trials if trial.loss is not None]
        worst, mean = (max(finished), float(np.mean(finished))) if finished else (0.0, 0.0)
        losses = [worst if trial.loss is None else trial.loss for trial in self.trials] + [mean] * len(self.pending)
        return Tried(
            [trial.values for trial in self.trials] + self.pending,
            np.array(losses, dtype=np.float64),
            [trial.key for trial in self.trials] + [key(point) for point in self.pending],
            np.array([trial.loss is not None for trial in self.trials] + [False] * len(self.pending), dtype=bool),
        )


def _without(points: list[Values], one: Values) -> list[Values]:
    """The points less the first that is `one`."""
    for i, point in enumerate(points):
        if key(point) == key(one):
            return points[:i] + points[i + 1 :]
    return points


def _point(values: Values) -> Values:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _look(space: Space) -> str:
    """A checksum of how some points are described; empty where it is by the space's own columns."""
    return "" if space.describe is None else checksum(space.encode(space.draw(8, np.random.default_rng(0))).tobytes())


def _digest(experience: Experience) -> str:
    parts: list[str | bytes] = []
    for task in experience.tasks:
        parts += [task.name, *map(key, task.points), task.losses.tobytes()]
    return checksum(*parts)
