"""Trust held against tasks of classes that nothing was fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.engine.embedded import on_embeddings
from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.learners import IterativeLearner
from quickstudy.tasks.base import Sampling, Source
from quickstudy.trust.base import Trust
from quickstudy.trust.checked_values import CheckedIntervals, CheckedPixels, checked_values
from quickstudy.trust.draw import Tried, sizes, tried
from quickstudy.trust.figures import Outcome, auroc, bins, calibration_error, resampled, share, spearman
from quickstudy.trust.task import TaskTrust

LEVEL, COVERAGE, ALARMS = 0.9, 0.95, 0.05
"""Of the intervals, of the sets, and the rate of false alarms, that are held against the truth."""
TASKS, ITERATIVE = 200, 60
"""Tasks that are drawn, and of learners that take steps."""


@dataclass(frozen=True)
class Reliability:
    """Of the inputs whose largest probability lies in each of `BINS` equal parts of 0 to 1: the mean of that
    probability, the share that is right, and how many they are. Parts without inputs are left out."""

    sure: list[float]
    right: list[float]
    count: list[int]


@dataclass(frozen=True)
class Checked:
    """What became of what was promised, over unseen tasks, each an Estimate over these.

    held: the share of tasks whose accuracy lies in its 90 % interval; width: of that interval. rank: Spearman's
    correlation of the estimate with the accuracy; None where either is always the same. before, after: the expected
    calibration error of probabilities without and with the temperature (Guo et al. 2017; 15 bins). covered, size: the
    share of inputs whose 95 % set holds their class, and the classes in it. auroc: of inputs of classes that were not
    shown against others, by what is said of them, and by_probability: by the largest probability. alarms: the share of
    inputs of the classes that are refused where 5 % were promised, refused: of the others. None where validation tasks
    were too few to promise it, or no class could be kept from being shown. Intervals of rank, before and after are by
    the bootstrap over tasks (Efron 1979).

    queries, strange: inputs of the classes and of others in a task. said, low, high, truth: of each task.
    """

    tasks: int
    queries: int
    strange: int
    held: Estimate
    width: Estimate
    rank: Estimate | None
    before: Estimate
    after: Estimate
    covered: Estimate | None
    size: Estimate | None
    auroc: Estimate | None
    by_probability: Estimate | None
    alarms: Estimate | None
    refused: Estimate | None
    plain: Reliability = field(repr=False)
    tempered: Reliability = field(repr=False)
    said: list[float] = field(repr=False)
    low: list[float] = field(repr=False)
    high: list[float] = field(repr=False)
    truth: list[float] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> list[tuple[str, str, int]]:
        """What is told of it in a table: what, how much with its interval, and over how many tasks."""
        said: list[tuple[str, Estimate | None, bool]] = [
            (f"accuracy within its {100 * LEVEL:.0f} % interval", self.held, True),
            ("width of that interval", self.width, True),
            ("rank correlation of estimate and accuracy", self.rank, False),
            ("calibration error without temperature", self.before, False),
            ("calibration error", self.after, False),
            (f"{100 * COVERAGE:.0f} % sets hold the class", self.covered, True),
            ("classes in such a set", self.size, False),
            ("AUROC of unknown inputs", self.auroc, False),
            ("the same by the largest probability", self.by_probability, False),
            (f"false alarms, {100 * ALARMS:.0f} % promised", self.alarms, True),
            ("unknown inputs refused then", self.refused, True),
        ]
        return [(name, told(one, part), one.count or 0) for name, one, part in said if one is not None]

    def outcomes(self) -> list[Outcome]:
        """The most of it in plain words."""
        size = "" if self.size is None else f" (of {self.size.mean:.1f} classes)"
        said = [
            ("its accuracy lies in the interval that it tells", LEVEL, self.held),
            (f"the right class is in its set{size}", COVERAGE, self.covered),
            ("an input of its classes is taken for unknown", ALARMS, self.alarms),
            ("an unknown input is taken for unknown", None, self.refused),
        ]
        return [
            Outcome(what, "" if promised is None else f"{100 * promised:.0f} %", share(one))
            for what, promised, one in said
            if one is not None
        ]


AnyChecked = Checked | CheckedIntervals | CheckedPixels


def told(one: Estimate, as_share: bool) -> str:
    """An estimate in words, a share in %."""
    return share(one) if as_share else str(one)


def checked(
    engine: Engine,
    params: Params,
    source: Source,
    trust: Trust,
    own: Sampling,
    tasks: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> AnyChecked:
    """Learn `tasks` test tasks and hold what is said of each against the truth; of several domains, as many of
    each. own: their size. tasks: 200, or 60 of learners that take steps, if not given.

    ConfigError where no validation task was like these; DataError where that split has too few classes or examples.
    """
    if tasks is None:
        tasks = ITERATIVE if isinstance(engine.learner, IterativeLearner) else TASKS
    if tasks < 2:
        raise ConfigError(f"At least 2 tasks are needed for a confidence interval, found {tasks}.")
    if trust.intervals is not None or trust.pixels is not None:
        return checked_values(engine, params, source, trust, own, tasks, on_progress)
    engine, source = on_embeddings(engine, params, source, "test")
    parts = source.parts("test") or {"": source}
    found: list[_Task] = []
    for part in parts.values():
        size = replace(sizes(engine, part, "test", own, 2)[0], tasks=max(1, tasks // len(parts)))
        for one in tried(engine, params, part, "test", size, 0, trust.folds, trust.strangers, trust.space):
            found.append(_Task.of(TaskTrust(trust, one.evidence, None), one))
            if on_progress is not None:
                on_progress(len(found))
    return _together(found)


@dataclass(frozen=True)
class _Task:
    """What one task says. ends: mean, low and high of the estimate. plain, tempered: (BINS, 3) sums, see `bins`."""

    ends: tuple[float, float, float]
    truth: float
    queries: int
    strange: int
    plain: Tensor
    tempered: Tensor
    shares: dict[str, float]

    @classmethod
    def of(cls, trust: TaskTrust, one: Tried) -> _Task:
        known, at, shares = one.y >= 0, trust.calibration, dict[str, float]()
        coverage = COVERAGE if at.sets.levels and at.sets.levels[0] <= COVERAGE <= at.sets.levels[-1] else None
        alarms = at.alarms is not None and at.alarms.levels and at.alarms.levels[0] <= ALARMS <= at.alarms.levels[-1]
        judged = trust.judged(one.logits, one.familiar, coverage, ALARMS if alarms else None)
        y, estimate = one.y[known], trust.estimate(LEVEL)
        if judged.inside is not None:
            inside = judged.inside[known]
            shares["covered"] = float(inside.gather(1, y[:, None]).double().mean())
            shares["size"] = float(inside.sum(1).double().mean())
        if judged.accepted is not None:
            shares["alarms"] = float((~judged.accepted[known]).double().mean())
        if judged.known is not None and bool((~known).any()):
            largest = one.logits.softmax(1).amax(1)
            shares["auroc"] = auroc(judged.known[known], judged.known[~known])
            shares["by_probability"] = auroc(largest[known], largest[~known])
            if judged.accepted is not None:
                shares["refused"] = float((~judged.accepted[~known]).double().mean())
        plain, tempered = (bins(part[known].double().softmax(1), y) for part in (one.logits, judged.logits))
        ends = estimate.mean, estimate.low, estimate.high
        return cls(ends, one.accuracy, len(y), int((~known).sum()), plain, tempered, shares)


def _together(found: Sequence[_Task]) -> Checked:
    ends, truth = (
        torch.tensor([one.ends for one in found]).double(),
        torch.tensor([one.truth for one in found]).double(),
    )
    said, low, high = ends.T
    # a share of q inputs is a multiple of 1 / q, and so as right as rounding lets it be
    held = (low - 1e-9 <= truth) & (truth <= high + 1e-9)

    def mean(name: str) -> Estimate | None:
        values = [one.shares[name] for one in found if name in one.shares]
        return Estimate.of(torch.tensor(values, dtype=torch.float64)) if len(values) > 1 else None

    plain, tempered = (torch.stack([getattr(one, name) for one in found]) for name in ("plain", "tempered"))
    varied = bool((said != said[0]).any()) and bool((truth != truth[0]).any())
    return Checked(
        tasks=len(found),
        queries=int(torch.tensor([float(one.queries) for one in found]).median()),
        strange=int(torch.tensor([float(one.strange) for one in found]).median()),
        held=Estimate.of(held.double()),
        width=Estimate.of(high - low),
        rank=resampled(lambda rows: spearman(said[rows], truth[rows]), len(found)) if varied else None,
        before=resampled(lambda rows: calibration_error(plain[rows]), len(found)),
        after=resampled(lambda rows: calibration_error(tempered[rows]), len(found)),
        covered=mean("covered"),
        size=mean("size"),
        auroc=mean("auroc"),
        by_probability=mean("by_probability"),
        alarms=mean("alarms"),
        refused=mean("refused"),
        plain=_reliability(plain),
        tempered=_reliability(tempered),
        said=said.tolist(),
        low=low.tolist(),
        high=high.tolist(),
        truth=truth.tolist(),
    )


def _reliability(sums: Tensor) -> Reliability:
    sure, right, count = (part[sums.sum(0)[:, 2] > 0] for part in sums.sum(0).T)
    return Reliability((sure / count).tolist(), (right / count).tolist(), [int(n) for n in count])
