"""Intervals of numbers and forecasts: how far the truth lies from what is said, over validation tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Examples, Features, Params, State
from quickstudy.errors import ConfigError
from quickstudy.evaluation.evaluate import batches
from quickstudy.learners import Learner
from quickstudy.masked import masked_mean, mean_and_spread
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units
from quickstudy.tasks.base import Source
from quickstudy.trust.base import Intervals, Trust
from quickstudy.trust.draw import FIRST, Size, prepared
from quickstudy.trust.estimate import Accuracy
from quickstudy.trust.heard import Asked, Heard
from quickstudy.trust.quantiles import fitted_quantiles, require_level

_FLOOR = 1e-4  # of the spread of labels: an error below is rounding
_LEAST = 1e-12
_COVERAGES = (0.8, 0.9, 0.95)  # that exports tell of
_STEP = 0.8  # the quantile of errors by which they grow with the step


class Residuals(NamedTuple):
    """What a support set says of the errors of its own task, or of T with a task axis. features: (f,). scale: (*shape)
    the root of the mean squared error of examples that were left out, in the task's units; NaN of a single example."""

    features: Tensor
    scale: Tensor


class Missed(NamedTuple):
    """Of one task: its features (f,), how many scales away from what was said the q queries lie, (q,), and these
    scales in spreads of the support labels, (q,), the mean over the numbers of a label."""

    features: Tensor
    away: Tensor
    scale: Tensor


def residuals(learner: Learner, params: Params, support: Examples, folds: int) -> Residuals:
    """Of one task; examples are left out in turn, every folds-th at once. learner: after training."""
    order, mask, sure = support.mask.cumsum(0) - 1, support.mask, not learner.spec.format.rolls
    mean = spread = torch.zeros_like(support.y)
    known = False
    for fold in range(folds):
        gone = (order % folds == fold) & mask
        state = learner.adapt(params, support._replace(mask=mask & ~gone))
        said = learner.predictive(params, state, support.x) if sure else None
        known, said = said is not None, said or Distribution(learner.predict(params, state, support.x))
        here = gone.view(-1, *[1] * (support.y.dim() - 1))
        mean = torch.where(here, said.mean.to(mean), mean)
        spread = spread if said.spread is None else torch.where(here, said.spread.to(spread), spread)
    real = mask.view(-1, *[1] * (support.y.dim() - 1))
    count = mask.sum().clamp(min=1)
    wrong = torch.where(real, support.y - mean, 0.0)
    scale = (wrong.square().sum(0) / count).sqrt()
    labels = mean_and_spread(support.y, real, dim=0)[1][0]
    scale = scale.clamp(min=_LEAST).maximum(_FLOOR * labels)
    features = [count.to(scale.dtype).log(), _log(scale / labels.clamp(min=_LEAST)).mean()]
    if known:
        each = (wrong / spread.clamp(min=_LEAST)).square().sum(0) / count
        features += [_log(each.sqrt()).mean(), _log(masked_mean(spread.flatten(1).mean(1), mask) / scale.mean())]
    alone = mask.sum() < 2
    return Residuals(torch.stack(features).double(), torch.where(alone, torch.nan, scale.double()))


def _log(value: Tensor) -> Tensor:
    return value.clamp(1e-6, 1e6).log()


def missed(
    engine: Engine, params: Params, source: Source, split: str, size: Size, folds: int, first: int = FIRST
) -> Iterator[Missed]:
    """Tasks of one size, learned, and asked as the format asks. engine: of the run."""
    engine, source = prepared(engine, params, source, split, size)
    learner = engine.learner
    rolls = source.spec.format.rolls

    def one(episode: Episode) -> tuple[Tensor, ...]:
        proof = residuals(learner, params, episode.support, folds)
        state, x = learner.adapt(params, episode.support), episode.query.x
        if rolls:
            said = Distribution(source.spec.format.rolled(lambda part: learner.predict(params, state, part), x))
        else:
            said = learner.predictive(params, state, x) or Distribution(learner.predict(params, state, x))
        scale = proof.scale if said.spread is None else said.spread.double()
        away = (episode.query.y - said.mean).double().abs() / scale.clamp(min=_LEAST)
        known = episode.support.mask.view(-1, *[1] * (episode.support.y.dim() - 1))
        spread = mean_and_spread(episode.support.y, known, dim=0)[1][0].double().clamp(min=_LEAST)
        wide = (scale / spread).expand(away.shape)
        return proof.features, away.unsqueeze(-1).flatten(1).amax(1), wide.unsqueeze(-1).flatten(1).mean(1)

    for drawn in batches(source, split, size.tasks, engine.device, first):
        for features, away, wide, mask in zip(*engine.map(one, drawn), drawn.query.mask, strict=True):
            yield Missed(features.cpu(), away[mask].cpu(), wide[mask].cpu())


def fitted_intervals(found: Sequence[Missed], levels: Sequence[float], rolls: bool, seed: int) -> Intervals:
    """Conformal over tasks: the quantiles of how many scales away the truth lies (Lei et al. 2018), each a function of
    what is known of the task. Of forecasts, scales grow with the step as the errors of validation tasks do."""
    steps = min(len(one.away) for one in found) if rolls else 0
    growth = torch.ones(0, dtype=torch.float64)
    if rolls:
        each = torch.stack([one.away[:steps] for one in found])
        growth = each.quantile(_STEP, dim=0).clamp(min=1e-6).cummax(0).values
        growth = growth / growth[0]
    values = [_log(one.away[:steps] / growth if rolls else one.away) for one in found]
    distances = fitted_quantiles([one.features for one in found], values, levels, seed)
    return Intervals(distances, tuple(growth.tolist()))


@dataclass(frozen=True, eq=False)
class IntervalTrust:
    """Trust of one model of numbers. features, scale: see `Residuals`."""

    trust: Trust
    features: Tensor
    scale: Tensor

    def estimate(self, level: float = 0.9) -> Accuracy:
        raise ConfigError(
            "How often a model is right is told of classes. Of numbers, ask for intervals: "
            "model.predict(records, coverage=0.9)."
        )

    def half(self, said: Distribution, coverage: float) -> Tensor:
        """Half of the width of the intervals about what was said, (n, *shape) in the task's units: the share `coverage`
        of labels lies within, all numbers of one together. ConfigError for what validation tasks cannot support."""
        at, count = self.trust.intervals, len(said.mean)
        if at is None:
            raise ConfigError("Nothing was fitted of intervals. Fit it: run.fit_trust().")
        require_level("coverage", coverage, coverage, at.distances)
        if bool(self.scale.isnan().any()):
            raise ConfigError("One example shows no errors, so that intervals have no scale. Give two or more.")
        if at.growth and count > len(at.growth):
            raise ConfigError(
                f"The forecasts of validation tasks reach {len(at.growth)} steps ahead, and intervals were asked for "
                f"{count}. Ask for fewer steps, leave the coverage out, or train with more queries (--queries)."
            )
        scale = self.scale.to(said.mean.device) if said.spread is None else said.spread.double()
        half = (scale * float(at.distances.at(coverage, self.features).exp())).expand(said.mean.shape)
        if at.growth:
            growth = torch.tensor(at.growth[:count], dtype=torch.float64, device=half.device)
            half = half * growth.view(-1, *[1] * (half.dim() - 1))
        return half

    def heard(
        self, asked: Asked, x: Features, coverage: float | None = None, false_alarms: float | None = None
    ) -> Heard:
        """What a model says of features x."""
        return Heard(asked.said(x))

    def completed(self, answer: Answer, heard: Heard, units: Units | None, coverage: float | None) -> Answer:
        """The answer with intervals, where a coverage was asked for; see `half`."""
        if coverage is None:
            return answer
        half = self.half(heard.said, coverage)
        return answer.between((half if units is None else half * units.spread.to(half)).cpu(), coverage)

    @property
    def compared(self) -> None:
        """No support examples are: see `TaskTrust.compared`."""
        return None

    def facts(self, level: float, units: Units | None) -> dict[str, Any]:
        """As `TaskTrust.facts`: how far intervals reach at each coverage that validation tasks support, in multiples of
        a scale, which is a number of the user's, or the spread that is said."""
        at = self.trust.intervals
        assert at is not None
        if bool(self.scale.isnan().any()):
            return {"intervals": {"reach": {}, "scale": None, "growth": list(at.growth)}}
        levels, scale = at.distances.levels, self.scale if units is None else self.scale * units.spread.to(self.scale)
        there = [c for c in _COVERAGES if levels and levels[0] <= c <= levels[-1]]
        reach = {f"{c:g}": float(at.distances.at(c, self.features).exp()) for c in there}
        return {"intervals": {"reach": reach, "scale": scale.tolist(), "growth": list(at.growth)}}

    def tensors(self) -> State:
        """What is stored with the model, beside the JSON of `trust`; a scale that one example does not show is not."""
        held = {"features": self.features}
        return held if bool(self.scale.isnan().any()) else held | {"scale": self.scale}
