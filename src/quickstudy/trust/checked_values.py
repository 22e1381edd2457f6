"""Intervals of numbers, and probabilities of pixels, held against tasks that nothing was fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import torch

from quickstudy.engine import Engine
from quickstudy.episode import Params
from quickstudy.errors import ConfigError
from quickstudy.evaluation.estimate import Estimate
from quickstudy.tasks.base import Sampling, Source
from quickstudy.trust.base import Intervals, Pixels, Trust
from quickstudy.trust.draw import Size, as_they_come
from quickstudy.trust.figures import Outcome, bins, calibration_error, resampled, share
from quickstudy.trust.fit import queries_of
from quickstudy.trust.intervals import Missed, missed
from quickstudy.trust.pixels import Seen, seen

_COVERAGE = 0.95  # of intervals, or the nearest that validation tasks support
_Of = TypeVar("_Of")


@dataclass(frozen=True)
class CheckedIntervals:
    """What became of intervals, over unseen tasks. coverage: that was promised. covered: the share of values that lie
    within. width: of the whole interval, in spreads of the labels of a task's support set; the median of tasks, with
    an interval by the bootstrap over them. queries: values of a task."""

    tasks: int
    queries: int
    coverage: float
    covered: Estimate
    width: Estimate

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> list[tuple[str, str, int]]:
        """What is told of it: what, how much with its interval, and over how many tasks."""
        held = f"{100 * self.coverage:g} % intervals hold the value"
        return [
            (held, share(self.covered), self.tasks),
            ("width of such an interval, in spreads of a task's labels", str(self.width), self.tasks),
        ]

    def outcomes(self) -> list[Outcome]:
        """The same in plain words."""
        return [Outcome("the true value lies in its interval", f"{100 * self.coverage:g} %", share(self.covered))]


@dataclass(frozen=True)
class CheckedPixels:
    """What became of probabilities of pixels, over unseen tasks. before, after: their expected calibration error
    without and with the temperature (15 bins), with intervals by the bootstrap over tasks. right: the share of
    pixels whose likeliest class is theirs; sure: the mean probability of that class. queries: pixels of a task."""

    tasks: int
    queries: int
    before: Estimate
    after: Estimate
    right: Estimate
    sure: Estimate

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def rows(self) -> list[tuple[str, str, int]]:
        """What is told of it: what, how much with its interval, and over how many tasks."""
        return [
            ("calibration error of pixels without temperature", str(self.before), self.tasks),
            ("calibration error of pixels", str(self.after), self.tasks),
            ("mean probability of the likeliest class of a pixel", share(self.sure), self.tasks),
            ("pixels of which it is the class", share(self.right), self.tasks),
        ]

    def outcomes(self) -> list[Outcome]:
        """The same in plain words."""
        return [Outcome("pixels are right as often as it says", f"{100 * self.sure.mean:.1f} %", share(self.right))]


def checked_values(
    engine: Engine,
    params: Params,
    source: Source,
    trust: Trust,
    own: Sampling,
    tasks: int,
    on_progress: Callable[[int], None] | None = None,
) -> CheckedIntervals | CheckedPixels:
    """Learn `tasks` test tasks and hold what is said against the truth; of several domains, as many of each.

    ConfigError where nothing was promised; DataError where a split has too few examples.
    """
    parts = list((source.parts("test") or {"": source}).values())
    few = queries_of(engine, own)
    sizes = [as_they_come(one, "test", own, 2, few)[0] for one in parts]
    drawn = [(one, replace(size, tasks=max(1, tasks // len(parts)))) for one, size in zip(parts, sizes, strict=True)]

    def listed(each: Callable[[Source, Size], Iterable[_Of]]) -> list[_Of]:
        found: list[_Of] = []
        for part, size in drawn:
            for one in each(part, size):
                found.append(one)
                if on_progress is not None:
                    on_progress(len(found))
        return found

    if trust.intervals is not None:
        of = listed(lambda part, size: missed(engine, params, part, "test", size, trust.folds, first=0))
        return _intervals(trust.intervals, [one for one in of if len(one.away)])
    if trust.pixels is None:
        raise ConfigError("Nothing was promised of these tasks. Fit it: run.fit_trust().")
    return _pixels(trust.pixels, listed(lambda part, size: seen(engine, params, part, "test", size, first=0)))


def _intervals(at: Intervals, found: Sequence[Missed]) -> CheckedIntervals:
    levels = at.distances.levels
    if not levels:
        raise ConfigError("No coverage can be promised: the validation tasks had too few values. Hold out more.")
    coverage = min(max(_COVERAGE, levels[0]), levels[-1])
    covered, width = [], []
    for one in found:
        growth = torch.tensor(at.growth, dtype=torch.float64)[: len(one.away)] if at.growth else torch.ones(1)
        here = len(growth) if at.growth else len(one.away)  # further ahead nothing is promised
        half = float(at.distances.at(coverage, one.features).exp()) * growth.double()
        covered.append(float((one.away[:here] <= half).double().mean()))
        width.append(float((2 * half * one.scale[:here]).mean()))
    wide = torch.tensor(width, dtype=torch.float64)
    return CheckedIntervals(
        tasks=len(found),
        queries=int(torch.tensor([float(len(one.away)) for one in found]).median()),
        coverage=coverage,
        covered=Estimate.of(torch.tensor(covered, dtype=torch.float64)),
        width=resampled(lambda rows: float(wide[rows].median()), len(found)),
    )


def _pixels(at: Pixels, found: Sequence[Seen]) -> CheckedPixels:
    plain = torch.stack([bins(one.logits.double().softmax(1), one.y) for one in found])
    cooled = [one.logits.double() / at.temperature(one.features).exp() for one in found]
    tempered = torch.stack([bins(part.softmax(1), one.y) for part, one in zip(cooled, found, strict=True)])
    sure, right, count = tempered.sum(1).T
    return CheckedPixels(
        tasks=len(found),
        queries=int(count.median()),
        before=resampled(lambda rows: calibration_error(plain[rows]), len(found)),
        after=resampled(lambda rows: calibration_error(tempered[rows]), len(found)),
        right=Estimate.of(right / count),
        sure=Estimate.of(sure / count),
    )
