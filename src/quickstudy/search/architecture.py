"""From tasks, minutes and a limit of milliseconds to a network that keeps it, trained."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from quickstudy.choosing.chosen import figure, tested
from quickstudy.choosing.search import VALIDATIONS
from quickstudy.choosing.trial import Attempt, attempt, comparable
from quickstudy.episode import Features, map_features
from quickstudy.errors import ConfigError
from quickstudy.learners.reader import ReaderLearner
from quickstudy.registry import OWN, learners, sources
from quickstudy.runs.run import Run
from quickstudy.search.apart import Apart
from quickstudy.search.clock import Clock
from quickstudy.search.found import STATE, Candidate, Found, State, told
from quickstudy.search.spaces import corners, shares, space_of, with_network
from quickstudy.search.supernet import Supernet
from quickstudy.search.timing import Cost
from quickstudy.search.together import Together
from quickstudy.select.warm import Search
from quickstudy.space import Space, Values
from quickstudy.storage.folders import take, take_folder
from quickstudy.storage.json import write_json
from quickstudy.tasks.base import Source
from quickstudy.terminal import complain
from quickstudy.training.build import Parts, build
from quickstudy.training.config import RunConfig
from quickstudy.training.progress import duration

SHARED, SEARCHED = 0.4, 0.2
"""Shares of the minutes in which one network is trained for all, and in which candidates are asked for what they reach
with its weights; where they share none, both go to short trainings of candidates. In the rest the best is trained."""
TASKS, TESTED = 128, 600
_SOFT = -0.07  # exponent of the reward without a limit: twice the time is worth five per cent (Tan et al. 2019)
_AGAIN = 5  # of the best candidates, asked over more tasks
_DRAWING = 0.05  # of the minutes, at most, to find networks that keep the limit
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
    space is one for what its examples are. One network is trained for all of a space (see `Supernet`), or, where they
    share no weights, each for a moment; candidates are proposed by `strategy` and measured; the best one is trained on
    from the weights it has. Ctrl-C keeps what there is; `resume` goes on.

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
    opened = space_of(tasks.sampled(config.sampling).spec, config.model)
    _require_one_example(replace(config, model=opened), tasks)
    largest = opened.at(corners(opened.space)[-1])
    closed = replace(config, model=largest) if config.model.space.axes else config
    with take_folder(f"search-{config.name}", out, overwrite=False) as held:
        state: State = {
            "kind": "search", "config": closed.to_json(), "open": closed is not config, "space": opened.space.to_json(),
            "metric": tasks.spec.target.metric.name, "under": under, "minutes": minutes, "strategy": strategy,
            "seed": seed, "spent": 0.0, "steps": 0, "candidates": [],
        }  # fmt: skip
        return _Searching(held.folder, state, tasks, source, quiet).run()


def resume(folder: str | Path, *, source: Source | None = None, quiet: bool = False) -> Found:
    """Go on with a search that was stopped or killed. source: the tasks, where they were ones of your own."""
    found = Found(Path(folder), source)
    state = found.state
    if "run" in state:
        return found
    with take(found.folder):
        tasks = comparable(RunConfig.from_json(state["config"]), source)
        return _Searching(found.folder, state, tasks, source, quiet).run()


def _require_one_example(config: RunConfig, source: Source) -> None:
    """ConfigError for learners whose network reads a support set, or remembers, so that it cannot be timed for one
    example."""
    name, traits = config.learner.name, learners.traits(config.learner.name)
    if traits.acts and not traits.head:
        raise ConfigError(
            f"The network of {name!r} has a memory of the steps before, so that it has no time for one. Search with an "
            "agent that adapts its weights, such as maml-rl, or let `quickstudy choose` try sizes of this one."
        )
    largest = with_network(config, corners(config.model.space)[0])
    if isinstance(build(largest, None, source).engine.learner, ReaderLearner):
        raise ConfigError(
            f"The learner {name!r} reads a whole support set, so that its network has no time for one example. Search "
            "with one that embeds each, such as protonet or r2d2."
        )


class _Searching:
    """A search that goes on."""

    def __init__(self, folder: Path, state: State, tasks: Source, own: Source | None, quiet: bool) -> None:
        self.folder, self.state, self.tasks, self.own, self.quiet = folder, state, tasks, own, quiet
        self.under, self.seconds = state["under"], 60 * state["minutes"]
        self.metric = tasks.spec.target.metric
        first = RunConfig.from_json(state["config"])
        opened, self.space = space_of(tasks.sampled(first.sampling).spec, first.model), Space.from_json(state["space"])
        if state["open"]:
            opened = replace(first.model, options={**first.model.options, **self.space.axes})
        self.config, self.closed = replace(first, model=opened), not state["open"]
        self.corners = corners(self.space, both=True)
        known = Cost(**state["reference"]) if "reference" in state else None
        self.clock = Clock(self.space, lambda point: self._module(self.made(point)), self._example(first),
                           self._module(first), known)  # fmt: skip
        state["reference"], state["recipe"] = asdict(self.clock.own), asdict(self.clock.own) if self.closed else None
        self.target = self.under if self.under is not None else self.clock.own.milliseconds
        self._began, self._before = time.monotonic(), state["spent"]

    def made(self, point: Values) -> RunConfig:
        """The config with the network of a point."""
        return with_network(self.config, point)

    def _parts(self, config: RunConfig) -> Parts:
        return build(config, None, self.tasks)

    def _module(self, config: RunConfig) -> nn.Module:
        return self._parts(config).engine.learner.networks[""].module.cpu()

    def _example(self, config: RunConfig) -> Features:
        source = self._parts(config).source
        if learners.traits(config.learner.name).acts:  # what is seen depends on who acts
            return source.spec.format.nothing(1)
        x = source.episodes("val", torch.zeros(1, dtype=torch.int64)).support.x
        return map_features(lambda leaf: leaf[0, :1].cpu(), x)

    @cached_property
    def asked(self) -> Together | Apart:
        """What tells how good a candidate is."""
        if shares(self.config.model):
            return Together(Supernet(self.config, self.tasks), self.folder, TASKS)
        return Apart(self.config, self.tasks, self.folder, self.seconds)

    def run(self) -> Found:
        limit = "" if self.under is None else f", under {self.under:g} ms"
        own = f"; the recipe's network takes {self.clock.own.milliseconds:.2f} ms" if self.closed else ""
        self._say(f"Searching {self.space.count:.3g} networks{limit}{own}.")
        if "final" not in self.state:
            if isinstance(self.asked, Together):
                self._train(self.asked)
            elif self.under is not None:
                self.clock.ends(self.corners, self.under, self._generator())
            self._look()
            self.state["chosen"] = dict(self.best())
            self.state["final"] = max(1.0, self.seconds - self._spend())
            self._write()
        self.finish(self.state["chosen"], self.state["final"])
        return Found(self.folder, self.own)

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng([self.state["seed"], 11])

    def _train(self, together: Together) -> None:
        """Train one network for those that are in time: the others cost a hundred times as much, and nobody asks."""
        if "members" not in self.state:
            limit, generator = self.under or _SLOWEST * self.target, self._generator()
            ends = [] if self.under is None else self.clock.ends(self.corners, self.under, generator)
            self.state["members"] = [
                dict(point) for point in ends + self.clock.drawn(limit, _DRAWING * self.seconds, generator)
            ]
            self.state["shared"] = max(1.0, SHARED * self.seconds - self._spend())
            self._write()

        def said() -> None:
            self.state["steps"] = together.net.steps
            self._write()

        members = self.state["members"]
        together.train(self.state["shared"], members, said)
        self._say(f"One network was trained for {len(members)} that are in time, in {together.net.steps} steps.")

    def _look(self) -> None:
        """Ask for the time of candidates, and of those in time for what they reach, as long as the minutes allow."""
        search, candidates = Search(self.space, None, self.state["strategy"], self.state["seed"]), self.candidates
        for candidate in candidates:
            self._tell(search, candidate)
        search.asked, ends = len(candidates), (SHARED + SEARCHED) * self.seconds
        while not search.exhausted:
            known = any(c["score"] is not None for c in candidates)
            if candidates and self._spend() > (ends if known else self.seconds):
                break
            candidates.append(self._candidate(search.propose()))
            self._tell(search, candidates[-1])
            self._write()
        asked = sum(c["score"] is not None for c in candidates)
        self._say(f"{len(candidates)} were timed, {asked} of them asked.")
        if not asked:
            failed = next((f": {c['error']}" for c in candidates if c["error"]), "")
            raise ConfigError(
                f"Of {len(candidates)} networks that were looked at none keeps {self.target:g} ms and learns{failed}. "
                "Raise the limit, or give more minutes."
            )

    @property
    def candidates(self) -> list[Candidate]:
        return self.state["candidates"]

    def _candidate(self, point: Values) -> Candidate:
        """Ask one proposal for its time and, if it keeps the limit, for what it reaches."""
        cost, score, error = self.clock.cost(point), None, ""
        if self.under is None or cost.milliseconds <= self.under:
            score, error = self.asked.reached(point, len(self.candidates), TASKS)
        return Candidate(
            point=dict(point), milliseconds=cost.milliseconds, parameters=cost.parameters, operations=cost.operations,
            score=score, error=error,
        )  # fmt: skip

    def _tell(self, search: Search, candidate: Candidate) -> None:
        score, error = candidate["score"], candidate["error"] or "too slow"
        loss = None if score is None else -self.worth(score, candidate["milliseconds"])
        search.tell(candidate["point"], loss, error if loss is None else "")

    def worth(self, score: float, milliseconds: float) -> float:
        """The reward, the higher the better: hard at a limit, soft without one (Tan et al. 2019)."""
        weight: float = (milliseconds / self.target) ** (_SOFT if self.under is None else 0.0)
        goodness = self.metric.goodness(score)
        return goodness + abs(goodness) * (weight - 1)

    def best(self) -> Values:
        """The best candidate; where they share weights, of the best ones that which is best over more tasks."""
        asked = [c for c in self.candidates if c["score"] is not None]
        asked.sort(key=lambda c: -self.worth(cast(float, c["score"]), c["milliseconds"]))
        if len(asked) == 1 or not isinstance(self.asked, Together):
            return asked[0]["point"]
        net = self.asked.net
        again = [self.worth(net.evaluated(c["point"], 3 * TASKS).mean, c["milliseconds"]) for c in asked[:_AGAIN]]
        return asked[int(np.nanargmax(again))]["point"]

    def finish(self, point: Values, seconds: float) -> None:
        """Train a network on from the weights that it has, and measure it."""
        self._say(f"Training {told(point)} for {duration(seconds)} more.")
        number = next(i for i, c in enumerate(self.candidates) if c["point"] == point and c["score"] is not None)
        before = str(self.asked.begin(point, number).absolute())
        config, folder = self.made(point), self.folder / "best"
        asked = Attempt(config.to_json(), str(folder.absolute()), seconds, 3 * TASKS, before, VALIDATIONS)
        trained = attempt(asked, self.tasks)
        self.state["cost"] = asdict(self.clock.cost(point))
        self.state["test"] = tested(Run(folder, source=self.tasks), self.tasks, TESTED)
        self.state["validation"] = figure(trained["mean"], trained["ci95"], len(trained["values"]))
        self.state["run"] = "best"
        self._write()

    def _spend(self) -> float:
        """Seconds of searching, those before this process included."""
        self.state["spent"] = self._before + time.monotonic() - self._began
        return self.state["spent"]

    def _write(self) -> None:
        self._spend()
        write_json(self.folder / STATE, self.state)

    def _say(self, line: str) -> None:
        if not self.quiet:
            complain(line)
