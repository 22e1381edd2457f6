"""From tasks, minutes and a limit of milliseconds to a network that keeps it, trained."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from quickstudy.choosing.chosen import figure, tested
from quickstudy.choosing.search import VALIDATIONS
from quickstudy.choosing.trial import Attempt, attempt, comparable
from quickstudy.episode import map_features
from quickstudy.errors import ConfigError
from quickstudy.learners.reader import ReaderLearner
from quickstudy.registry import OWN, Part, learners, sources
from quickstudy.runs.run import Run
from quickstudy.runs.train import keep
from quickstudy.search.found import STATE, Candidate, Found, State, told
from quickstudy.search.spaces import shares, space_of
from quickstudy.search.supernet import Supernet
from quickstudy.search.timing import ROUNDS, Cost, cost_of, measured, milliseconds
from quickstudy.select.warm import Search
from quickstudy.space import Values
from quickstudy.storage.folders import take_folder
from quickstudy.storage.json import write_json
from quickstudy.tasks.base import Source
from quickstudy.terminal import complain
from quickstudy.training.build import build
from quickstudy.training.config import RunConfig
from quickstudy.training.progress import duration

SHARED, SEARCHED = 0.4, 0.2
"""Shares of the minutes in which one network is trained for all, and in which candidates are asked for what they reach
with its weights; in the rest the best one is trained."""
TASKS, TESTED = 128, 600
_SOFT = -0.07  # exponent of the reward without a limit: twice the time is worth five per cent (Tan et al. 2019)
_AGAIN = 5  # of the best candidates, asked over more tasks
_ENDS = 64  # networks at the ends of the space that are timed
_MEMBERS, _FEWEST, _DRAWING = 256, 8, 0.05  # networks trained together: so many, or what a share of the minutes finds
_SLOWEST = 2.0  # times the recipe's network, of those that are trained where there is no limit


def search(
    config: RunConfig,
    *,
    under: float | None = None,
    minutes: float = 20.0,
    out: str | Path | None = None,
    source: Source | None = None,
    strategy: str = "evolution",
    seed: int | None = None,
    quiet: bool = False,
) -> Found:
    """Find a network for the tasks of `config`, a recipe, that answers within `under` milliseconds on this machine, and
    train it.

    Time is that of the network for one example on one thread. Without a limit, time counts softly against the headline,
    beside that of the recipe's network (Tan et al. 2019). The recipe's model may leave options open; otherwise the
    space is one for what its examples are. One network is trained for all of a space (see `Supernet`); candidates are
    proposed by `strategy` and measured; the best one is trained on from the weights it has.

    Raises ConfigError where no network of the space keeps the limit, DataError where no class is held out for
    validation.

    >>> import quickstudy as qs
    >>> found = qs.search.search(qs.recipes.photos(), under=3.0, minutes=20)  # doctest: +SKIP
    >>> found.milliseconds, found.run.evaluate()  # doctest: +SKIP
    """
    if not 0 < minutes < math.inf:
        raise ConfigError(f"A search takes more than 0 minutes, found {minutes:g}. Raise them.")
    if under is not None and not 0 < under < math.inf:
        raise ConfigError(f"A network takes more than 0 milliseconds, found under={under:g}. Raise it.")
    seed = config.seed if seed is None else seed
    if source is not None:
        config = replace(config, tasks=sources.part(OWN))
    config = replace(config.settled(), compile="off", protocols=(), seed=seed)
    tasks = comparable(config, source)
    shaped = tasks.sampled(config.sampling)
    opened = space_of(shaped.spec, config.model)
    if not shares(opened):
        raise ConfigError(
            f"Networks {opened.name!r} of different sizes share no weights. `quickstudy choose` tries each apart."
        )
    net = Supernet(replace(config, model=opened), tasks)
    _refuse_readers(net)
    with take_folder(f"search-{config.name}", out, overwrite=False) as held:
        searching = _Searching(held.folder, net, config.model, under, 60 * minutes)
        state = _searched(searching, strategy, seed, quiet)
        write_json(held.folder / STATE, state)
        return Found(held.folder, source)


def _refuse_readers(net: Supernet) -> None:
    """ConfigError for learners whose network reads a support set, so that it cannot be timed for one example."""
    learner = net.parts(net.corners()[0]).engine.learner
    if isinstance(learner, ReaderLearner) or learners.traits(net.config.learner.name).acts:
        raise ConfigError(
            f"The learner {net.config.learner.name!r} reads a whole support set, so that its network has no time for "
            "one example. Search with one that embeds each, such as protonet or r2d2."
        )


class _Searching:
    """What one search knows. reference: a network beside which all others are timed: the recipe's, or the largest."""

    def __init__(self, folder: Path, net: Supernet, recipe: Part[Any], under: float | None, seconds: float) -> None:
        self.folder, self.net, self.under, self.seconds = folder, net, under, seconds
        self.metric = net.source.spec.target.metric
        first = net.parts(net.corners(both=True)[-1])
        x = first.source.episodes("val", torch.zeros(1, dtype=torch.int64)).support.x
        self.example = map_features(lambda leaf: leaf[0, :1].cpu(), x)
        self.closed = not recipe.space.axes
        self.reference = self._module(replace(net.config, model=recipe) if self.closed else net.made(net.corners()[-1]))
        self.recipe = measured([self.reference], self.example)[0]
        self.target = under if under is not None else self.recipe.milliseconds
        self.candidates: list[Candidate] = []

    def _module(self, config: RunConfig) -> nn.Module:
        parts = build(config, None, self.net.source)
        return parts.engine.learner.networks[""].module.cpu()

    def cost(self, point: Values) -> Cost:
        """Of the network of a point."""
        network = self._module(self.net.made(point))
        return cost_of(network, self.example, self._milliseconds(network, ROUNDS))

    def _milliseconds(self, network: nn.Module, rounds: int) -> float:
        """What a network takes, as if the machine had been as busy as when the reference was timed first."""
        beside, own = milliseconds([self.reference, network], self.example, rounds)
        return own * self.recipe.milliseconds / beside

    def members(self, seed: int) -> list[Values]:
        """Networks that are in time, drawn by chance, and at the ends of all ranges: what is worth training.

        Raises ConfigError where not even one at an end is.
        """
        began, limit = time.monotonic(), self.under or _SLOWEST * self.target
        generator, points = np.random.default_rng([seed, 11]), self.net.corners(both=True)
        ends = [points[i] for i in generator.permutation(len(points))[:_ENDS]]
        taken = [self._milliseconds(self._module(self.net.made(point)), 3) for point in ends]
        found = [point for point, own in zip(ends, taken, strict=True) if own <= limit]
        if not found and self.under is not None:
            raise ConfigError(
                f"No network of this space keeps {self.under:g} ms: the smallest take {min(taken):.2f} ms for one "
                "example on this machine. Raise the limit, or make the examples smaller (--tasks.size)."
            )
        while len(found) < _MEMBERS:
            if time.monotonic() - began > _DRAWING * self.seconds and (len(found) >= _FEWEST or self.under is None):
                break
            (point,) = self.net.space.draw(1, generator)
            if self._milliseconds(self._module(self.net.made(point)), 3) <= limit:
                found.append(point)
        return found

    def look(self, search: Search) -> None:
        """Ask one proposal for its time and, if it keeps the limit, for what it reaches."""
        point = search.propose()
        cost, score = self.cost(point), None
        if self.under is not None and cost.milliseconds > self.under:
            search.tell(point, None, "too slow")
        else:
            mean = self.net.evaluated(point, TASKS).mean
            score = mean if math.isfinite(mean) else None
            search.tell(point, None if score is None else -self.worth(score, cost.milliseconds))
        self.candidates.append(
            Candidate(
                point=point, milliseconds=cost.milliseconds, parameters=cost.parameters, operations=cost.operations,
                score=score,
            )
        )  # fmt: skip

    def worth(self, score: float, milliseconds: float) -> float:
        """The reward, the higher the better: hard at a limit, soft without one (Tan et al. 2019)."""
        weight: float = (milliseconds / self.target) ** (_SOFT if self.under is None else 0.0)
        goodness = self.metric.goodness(score)
        return goodness + abs(goodness) * (weight - 1)

    def best(self) -> Values:
        """Of the best candidates the one that is best over more validation tasks."""
        asked = [c for c in self.candidates if c["score"] is not None]
        asked.sort(key=lambda c: -self.worth(cast(float, c["score"]), c["milliseconds"]))
        again = [self.worth(self.net.evaluated(c["point"], 3 * TASKS).mean, c["milliseconds"]) for c in asked[:_AGAIN]]
        return asked[int(np.nanargmax(again))]["point"]

    def state(self) -> State:
        return {
            "kind": "search", "config": self.net.config.name, "space": self.net.space.to_json(),
            "metric": self.metric.name, "under": self.under, "minutes": self.seconds / 60, "steps": self.net.steps,
            "recipe": asdict(self.recipe) if self.closed else None, "candidates": self.candidates,
        }  # fmt: skip

    def finish(self, point: Values, seconds: float) -> State:
        """Train a network on from the weights that it has, and measure it."""
        start, folder = self.folder / "shared", self.folder / "best"
        parts, config = self.net.parts(point), self.net.made(point)
        start.mkdir()
        found = self.net.evaluated(point, TASKS)
        facts = {"step": self.net.steps, "validation": found.mean, "validation_ci95": found.ci95}
        keep(start, parts, self.net.calibrated(point), facts)
        before = str(start.absolute())
        asked = Attempt(config.to_json(), str(folder.absolute()), seconds, 3 * TASKS, before, VALIDATIONS)
        trained = attempt(asked, self.net.source)
        test = tested(Run(folder, source=self.net.source), self.net.source, TESTED)
        validation = figure(trained["mean"], trained["ci95"], len(trained["values"]))
        return State(
            **self.state(), chosen=point, cost=asdict(self.cost(point)), run="best", validation=validation, test=test
        )


def _searched(searching: _Searching, strategy: str, seed: int, quiet: bool) -> State:
    def say(line: str) -> None:
        if not quiet:
            complain(line)

    net, seconds, began = searching.net, searching.seconds, time.monotonic()
    limit = "" if searching.under is None else f", under {searching.under:g} ms"
    own = f"; the recipe's network takes {searching.recipe.milliseconds:.2f} ms" if searching.closed else ""
    say(f"Searching {net.space.count:.3g} networks{limit}{own}.")
    members = searching.members(seed)
    net.train(SHARED * seconds - (time.monotonic() - began), members=members)
    say(f"One network was trained for {len(members)} that are in time, in {net.steps} steps.")
    search = Search(net.space, None, strategy, seed)
    ends = (SHARED + SEARCHED) * seconds
    while not search.exhausted:
        spent, found = time.monotonic() - began, any(c["score"] is not None for c in searching.candidates)
        if searching.candidates and spent > (ends if found else seconds):
            break
        searching.look(search)
    asked = sum(c["score"] is not None for c in searching.candidates)
    say(f"{len(searching.candidates)} were timed, {asked} of them asked.")
    write_json(searching.folder / STATE, searching.state())
    if not asked:
        raise ConfigError(
            f"Of {len(searching.candidates)} networks that were looked at none keeps {searching.target:g} ms, though "
            "the fastest of the space do. Raise the limit, or give more minutes."
        )
    point = searching.best()
    left = max(1.0, seconds - (time.monotonic() - began))
    say(f"Training {told(point)} for {duration(left)} more.")
    return searching.finish(point, left)
