"""From tasks and minutes to the learner, the network and the numbers that suit them, trained."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import get_args

from quickstudy.choosing.advice import advice
from quickstudy.choosing.chosen import STATE, Begun, Best, Chosen, Figure, State, tested
from quickstudy.choosing.experience import features, keep, refuse_file, remembered
from quickstudy.choosing.halving import THIRD, Halving, Step
from quickstudy.choosing.menu import Menu, menu
from quickstudy.choosing.record import Record, Trial, told
from quickstudy.choosing.trial import Attempt, Found, attempt, attempted, comparable
from quickstudy.errors import ConfigError, RunError, unknown_name
from quickstudy.registry import OWN, sources, strategies
from quickstudy.runs.run import Run
from quickstudy.select.warm import Experience, Search
from quickstudy.select.warm.experience import PastTask
from quickstudy.select.warm.numerics import scipy
from quickstudy.space import Values
from quickstudy.storage.folders import take, take_folder
from quickstudy.storage.json import write_json
from quickstudy.tasks.base import Source
from quickstudy.terminal import complain
from quickstudy.training.config import RunConfig
from quickstudy.training.progress import duration
from quickstudy.workers import Outcome, Where, Workers

FIRST, SHORTEST = 1 / 40, 4.0
"""What a trial is trained for at first: a share of the minutes, and the least, in seconds."""
SEARCHED = 0.5
"""The share of the minutes in which there are trials; in the rest the best one is trained on."""
TASKS = (96, 192, 384)
"""Validation tasks at each rung, and at the end: as precise as the trials of a rung lie apart."""
VALIDATIONS = 10
"""Of the last training, the best of which is kept."""
TESTED = 600
_PAST = "past.jsonl"


def choose(
    config: RunConfig,
    *,
    minutes: float = 20.0,
    out: str | Path | None = None,
    source: Source | None = None,
    where: Where = "processes",
    workers: int | None = None,
    strategy: str = "portfolio-gp",
    bank: str | Path | None = None,
    without: tuple[str, ...] = (),
    seed: int | None = None,
    quiet: bool = False,
) -> Chosen:
    """Find the learner, network and numbers that suit the tasks of `config`, a recipe, within so many minutes.

    The recipe is the first trial, and what did well on like tasks comes next (`bank`: a folder of experience of your
    own, to which the search is added; `without`: past tasks that are not looked at). Half of the time goes to trials,
    of which the better ones go on; in the rest the best one is trained. where, workers: trials run at once, on one
    thread each. source: tasks of your own instead of the config's; trials then run one after another, here. strategy:
    of `quickstudy.registry.strategies`, by which new trials are proposed.

    Raises ConfigError where nothing but the recipe can learn the tasks, DataError where no class is held out for
    validation, which is what trials are compared by. Ctrl-C keeps what has finished; `resume` goes on.

    >>> import quickstudy as qs
    >>> config = qs.recipes.photos()  # doctest: +SKIP
    >>> found = qs.choose(config, minutes=20)  # doctest: +SKIP
    >>> found.run.adapt(images, labels)  # doctest: +SKIP
    """
    if not 0 < minutes < math.inf:
        raise ConfigError(f"A search takes more than 0 minutes, found {minutes:g}. Raise them.")
    place = None if bank is None else Path(bank).absolute()
    if place is not None:
        refuse_file(place)
    seed = config.seed if seed is None else seed
    if where not in get_args(Where):
        raise unknown_name("place of workers", where, get_args(Where))
    if strategies.part(strategy).name != "random":
        scipy()  # so that it is not missing in the middle of a search
    if source is not None:
        config, where, workers = replace(config, tasks=sources.part(OWN)), "loop", 1
    config = replace(config.settled(), compile="off", protocols=(), seed=seed)
    tasks = comparable(config, source)
    first = max(SHORTEST, 60 * minutes * FIRST)
    offered = menu(config, tasks)  # what cannot be is refused before a folder is made
    past = remembered(offered.space, features(tasks.sampled(config.sampling)), place, without)
    count = 1 if where == "loop" else workers or os.cpu_count() or 1
    with take_folder(f"choose-{config.name}", out, overwrite=False) as held:
        state: State = {
            "kind": "choose", "config": config.to_json(), "metric": tasks.spec.target.metric.name,
            "space": offered.space.to_json(), "left_out": dict(offered.left_out), "minutes": minutes,
            "first": first, "rungs": _rungs(first, 60 * minutes * SEARCHED), "seed": seed, "strategy": strategy,
            "where": where, "workers": count, "bank": str(place or ""), "spent": 0.0, "begun": [],
        }  # fmt: skip
        past.save(held.folder / _PAST)
        write_json(held.folder / STATE, state)
        return _Choosing(held.folder, state, tasks, source is not None, offered, past, quiet).run()


def resume(folder: str | Path, *, source: Source | None = None, quiet: bool = False) -> Chosen:
    """Go on with a search that was stopped or killed; what it had found by then it does not try again."""
    chosen = Chosen(Path(folder), source)
    state, config = chosen.state, chosen.config
    if "best" in state:
        return chosen
    tasks = comparable(config, source)
    with take(chosen.folder):
        offered = menu(config, tasks)
        if offered.space != chosen.space:
            raise RunError(
                f"The search in {chosen.folder} chose among other learners or networks than there are for these tasks "
                "today. Begin a new one (its trials lie in that folder), or go on with the version that it began with."
            )
        past = Experience.load(chosen.folder / _PAST, offered.space)
        return _Choosing(chosen.folder, state, tasks, source is not None, offered, past, quiet).run()


def _rungs(first: float, seconds: float) -> int:
    """As many as leave a trial time to get through all of them in half of the search."""
    return max(1, min(len(TASKS), 1 + math.floor(math.log(max(1.0, seconds / 2 / first), THIRD))))


@dataclass
class _Choosing:
    """A search that goes on. own: whether its tasks cannot be sent to other processes."""

    folder: Path
    state: State
    tasks: Source
    own: bool
    menu: Menu
    past: Experience
    quiet: bool

    def __post_init__(self) -> None:
        self.record = Record.read(self.folder, self.tasks.spec.target.metric.higher_is_better)
        self.halving = Halving(self.record, self.state["first"], self.state["rungs"])
        self.points: dict[int, Values] = {t.trial: t.point for t in self.record.trials}
        self._began, self._before = time.monotonic(), self.state["spent"]

    @cached_property
    def search(self) -> Search:
        """Proposals, which know what was tried before."""
        search = Search(self.menu.space, self.past, self.state["strategy"], self.state["seed"])
        for trial in self.record.trials:
            if trial.rung == 0 and trial.point:
                self._tell(search, trial)
        begun = [one for one in self.state["begun"] if one["rung"] == 0 and one["trial"]]
        search.asked = max([t.trial for t in self.record.trials] + [one["trial"] for one in begun], default=0)
        search.pending = [one["point"] for one in begun if one["trial"] not in {t.trial for t in self.record.trials}]
        return search

    @property
    def left(self) -> float:
        """Seconds of searching."""
        return 60 * self.state["minutes"] * SEARCHED - self.state["spent"]

    def run(self) -> Chosen:
        self._say(self._beginning())
        if "final" not in self.state:
            with Workers(self.state["where"], self.state["workers"]) as workers:  # type: ignore[arg-type]
                function = partial(attempt, source=self.tasks) if self.own else attempt
                for outcome in workers.outcomes(function, self._jobs(), retries=0):
                    self._came(outcome)
            self._spend()
            self._write()
            if not self.record.latest:
                raise RunError(
                    f"Of {len(self.record.failed)} trials none finished: {self.record.failed[0].error} Mend what they "
                    "say, or give more minutes."
                )
            self.state["final"] = max(self.state["first"], 60 * self.state["minutes"] - self.state["spent"])
            self._write()
        best = self._finished(self.record.latest[0])
        if self.state["bank"]:
            self._remember(Path(self.state["bank"]))
        self.state["best"], self.state["advice"] = best, advice(self.record, self.tasks.spec.target.metric)
        self._write()
        return Chosen(self.folder, self.tasks if self.own else None)

    def _beginning(self) -> str:
        known = len(self.past.useful)
        learned = f"{known} past tasks of the kind go before" if known else "there is no experience of such tasks"
        return (
            f"Choosing among {len(self.menu.learners)} learners and {len(self.menu.networks)} networks for "
            f"{duration(max(0.0, self.left))}; {learned}."
        )

    def _jobs(self) -> Iterator[tuple[str, tuple[Attempt]]]:
        """What to train next, as long as there is time for it; drawn when a worker is free. What was being trained when
        a search was killed comes first, as it was."""
        done = {(t.trial, t.rung) for t in self.record.trials}
        for one in [b for b in self.state["begun"] if (b["trial"], b["rung"]) not in done]:
            self.points[one["trial"]] = one["point"]
            yield self._begin(Step(one["trial"], one["rung"], self._before_that(one["trial"], one["rung"])))
        while True:
            self._spend()
            step = self.halving.next(self.left if self.record.trials or self.halving.running else math.inf)
            if step is None or (step.before is None and step.trial and self.search.exhausted):
                return
            if step.before is None:
                self.points[step.trial] = self.search.propose() if step.trial else {}
            yield self._begin(step)

    def _begin(self, step: Step) -> tuple[str, tuple[Attempt]]:
        self.halving.running.add((step.trial, step.rung))
        running = sorted(self.halving.running)
        self.state["begun"] = [Begun(trial=t, rung=r, point=self.points[t]) for t, r in running]
        self._write()
        return f"{step.trial} {step.rung}", (self._asked(step),)

    def _before_that(self, trial: int, rung: int) -> Trial | None:
        return next((t for t in self.record.trials if (t.trial, t.rung) == (trial, rung - 1)), None)

    def _asked(self, step: Step) -> Attempt:
        config = replace(self.menu.config(self.points[step.trial]), name=f"trial-{step.trial}")
        start = "" if step.before is None else str(self._place(step.trial, step.rung - 1).absolute())
        place, seconds = str(self._place(step.trial, step.rung).absolute()), self.halving.seconds(step.rung)
        return Attempt(config.to_json(), place, seconds, TASKS[step.rung], start)

    def _place(self, trial: int, rung: int) -> Path:
        return self.folder / "trials" / f"{trial:03d}-{rung}"

    def _came(self, outcome: Outcome[Found]) -> None:
        number, rung = map(int, outcome.name.split())
        self.halving.running.discard((number, rung))
        trial = Trial.of(number, rung, self.points[number], outcome.result, outcome.error)
        self.record.add(trial)
        if rung == 0 and trial.point:
            self._tell(self.search, trial)
        self._spend()
        self._write()
        metric = self.tasks.spec.target.metric
        said = trial.error or f"{metric.interval(trial.mean, trial.ci95)} after {duration(trial.seconds)}"
        best = "  ← the best so far" if not trial.error and self.record.latest[0] is trial else ""
        self._say(f"  {number:3d}  {told(trial.point):40}  {said}{best}")

    def _tell(self, search: Search, trial: Trial) -> None:
        search.tell(trial.point, None if trial.error else -self.record.sign * trial.mean, trial.error)

    def _finished(self, best: Trial) -> Best:
        """Train the best trial for the rest of the time, and measure it on test tasks."""
        seconds, place = self.state["final"], self.folder / "best"
        self._say(f"Training {told(best.point)} for {duration(seconds)} more.")
        before = self._place(best.trial, best.rung)
        config = replace(self.menu.config(best.point), name=self.menu.base.name)
        asked = Attempt(
            config.to_json(), str(place.absolute()), seconds, TASKS[-1], str(before.absolute()), VALIDATIONS
        )  # fmt: skip
        outcome = attempted(asked, "the last training", self.tasks)
        last = Trial.of(best.trial, len(TASKS), best.point, outcome.result, outcome.error)
        worse = last.error or best.beats(last, self.record.sign)
        kept, where = (best, before) if worse else (last, place)
        run, reached = Run(where, source=self.tasks), Figure(mean=kept.mean, ci95=kept.ci95, count=len(kept.values))
        return Best(
            run=str(where.relative_to(self.folder)), trial=kept.trial, point=kept.point,
            validation=reached, test=tested(run, self.tasks, TESTED),
        )  # fmt: skip

    def _remember(self, bank: Path) -> None:
        points, losses = self.record.losses()
        own = features(self.tasks.sampled(self.menu.base.sampling))
        keep(
            bank,
            self.menu.space,
            PastTask(f"{self.menu.base.name} {self.folder.absolute()}", tuple(points), losses, own),
        )

    def _spend(self) -> None:
        self.state["spent"] = self._before + time.monotonic() - self._began

    def _write(self) -> None:
        write_json(self.folder / STATE, self.state)

    def _say(self, line: str) -> None:
        if not self.quiet:
            complain(line)
