"""The steps of a search: one network trained for all, candidates asked, a few trained alone, the best trained on."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from quickstudy.choosing.chosen import Figure, tested
from quickstudy.choosing.search import VALIDATIONS
from quickstudy.choosing.trial import Attempt, attempt
from quickstudy.episode import Features, map_features
from quickstudy.errors import ConfigError
from quickstudy.registry import learners
from quickstudy.runs.run import Run
from quickstudy.search.apart import Apart
from quickstudy.search.clock import Clock
from quickstudy.search.found import STATE, Candidate, Found, State, told
from quickstudy.search.spaces import corners, shares, space_of, with_network
from quickstudy.search.supernet import Supernet
from quickstudy.search.timing import Cost
from quickstudy.search.together import Together
from quickstudy.select.pareto import spread
from quickstudy.select.warm import Search
from quickstudy.space import Space, Values
from quickstudy.storage.json import write_json
from quickstudy.tasks.base import Source
from quickstudy.terminal import complain
from quickstudy.training.build import Parts, build
from quickstudy.training.config import RunConfig
from quickstudy.training.progress import duration

SHARED, ASKED, SEARCHED = 0.15, 0.2, 0.325
"""Shares of the minutes after which one network was trained for all, candidates were asked for what they reach with its
weights, and some were trained by themselves; where they share none, all goes to the last. In the rest the best is
trained."""
TASKS, TESTED = 128, 600
_SOFT = -0.07  # exponent of the reward without a limit: twice the time is worth five per cent (Tan et al. 2019)
_DRAWING = 0.05  # of the minutes, at most, to find networks that keep the limit
_SLOWEST = 2.0  # times the recipe's network, of those that are trained where there is no limit


class Searching:
    """A search in its folder, from the state that is stored there on. tasks: what candidates are compared by. own: the
    tasks, where they cannot be named."""

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
    def together(self) -> Together | None:
        """What is trained for all candidates, where they share weights."""
        return Together(Supernet(self.config, self.tasks), self.folder) if shares(self.config.model) else None

    @cached_property
    def alone(self) -> Apart:
        """What trains candidates by themselves."""
        return Apart(self.config, self.tasks, self.folder, self.seconds)

    def run(self) -> Found:
        limit = "" if self.under is None else f", under {self.under:g} ms"
        own = f"; the recipe's network takes {self.clock.own.milliseconds:.2f} ms" if self.closed else ""
        self._say(f"Searching {self.space.count:.3g} networks{limit}{own}.")
        if "final" not in self.state:
            if self.together is not None:
                self._train(self.together)
                self._look(self.together, ASKED)
                self._try()
            else:
                if self.under is not None:
                    self.clock.ends(self.corners, self.under, self._generator())
                self._look(self.alone, SEARCHED)
            self.state["chosen"] = dict(self.candidates[self.best()]["point"])
            self.state["final"] = max(1.0, self.seconds - self._spend())
            self._write()
        self.finish(self.best(), self.state["final"])
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

    def _look(self, asked: Together | Apart, until: float) -> None:
        """Ask for the time of candidates, and of those in time for what they reach, until such a share of the minutes
        is over."""
        search, candidates = Search(self.space, None, self.state["strategy"], self.state["seed"]), self.candidates
        for candidate in candidates:
            self._tell(search, candidate)
        search.asked, ends = len(candidates), until * self.seconds
        while not search.exhausted:
            known = any(c["score"] is not None for c in candidates)
            if candidates and self._spend() > (ends if known else self.seconds):
                break
            candidates.append(self._candidate(search.propose(), asked))
            self._tell(search, candidates[-1])
            self._write()
        number = sum(c["score"] is not None for c in candidates)
        self._say(f"{len(candidates)} were timed, {number} of them asked.")
        if not number:
            failed = next((f": {c['error']}" for c in candidates if c["error"]), "")
            raise ConfigError(
                f"Of {len(candidates)} networks that were looked at none keeps {self.target:g} ms and learns{failed}. "
                "Raise the limit, or give more minutes."
            )

    @property
    def candidates(self) -> list[Candidate]:
        return self.state["candidates"]

    def _candidate(self, point: Values, asked: Together | Apart) -> Candidate:
        """Ask one proposal for its time and, if it keeps the limit, for what it reaches."""
        cost, score, error = self.clock.cost(point), None, ""
        if self.under is None or cost.milliseconds <= self.under:
            score, error = asked.reached(point, len(self.candidates), TASKS)
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

    def _worth(self, candidate: Candidate) -> float:
        """The reward of one that was asked, by what it reached last."""
        score = candidate.get("trained", candidate["score"])
        return -math.inf if score is None else self.worth(score, candidate["milliseconds"])

    def _try(self) -> None:
        """Train a few candidates by themselves, for a moment.

        Weights that must serve many networks serve the small ones best, while training alone makes most of the large
        ones. So those are tried that no other beats both in what they are worth and in operations. They begin anew:
        from shared weights on, the same network reaches less in the same time.
        """
        if "finalists" not in self.state:
            few = max(1, math.floor((SEARCHED * self.seconds - self._spend()) / self.alone.each))
            asked = [number for number, c in enumerate(self.candidates) if c["score"] is not None]
            worth = np.array([self._worth(self.candidates[number]) for number in asked])
            small = np.array([-self.candidates[number]["operations"] for number in asked])
            self.state["finalists"] = [asked[i] for i in spread(worth, small, few)]
            self._write()
        each = duration(self.alone.each)
        self._say(f"{len(self.state['finalists'])} of them are trained by themselves, for {each} each.")
        for number in self.state["finalists"]:
            candidate = self.candidates[number]
            if "trained" not in candidate:
                candidate["trained"], candidate["error"] = self.alone.reached(candidate["point"], number, 3 * TASKS)
                self._write()

    def best(self) -> int:
        """The number of the candidate that is worth most, of those that were trained by themselves."""
        tried = self.state.get("finalists", range(len(self.candidates)))
        found = max(tried, key=lambda number: self._worth(self.candidates[number]))
        if self._worth(self.candidates[found]) == -math.inf:
            failed = next(self.candidates[number]["error"] for number in tried)
            raise ConfigError(f"None of the {len(tried)} best networks could be trained: {failed}. Give more minutes.")
        return found

    def finish(self, number: int, seconds: float) -> None:
        """Train the network of a candidate on from the weights that its trial left, and measure it."""
        point = self.candidates[number]["point"]
        self._say(f"Training {told(point)} for {duration(seconds)} more.")
        before = str(self.alone.place(number).absolute())
        config, folder = self.made(point), self.folder / "best"
        asked = Attempt(config.to_json(), str(folder.absolute()), seconds, 3 * TASKS, before, VALIDATIONS)
        trained = attempt(asked, self.tasks)
        self.state["cost"] = asdict(self.clock.cost(point))
        self.state["test"] = tested(Run(folder, source=self.tasks), self.tasks, TESTED)
        self.state["validation"] = Figure(mean=trained["mean"], ci95=trained["ci95"], count=len(trained["values"]))
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
