"""Calibrated doubt about pixels: a temperature of their logits, fitted over validation tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Examples, Features, Params, State, task
from quickstudy.errors import ConfigError
from quickstudy.evaluation.evaluate import batches
from quickstudy.learners import Learner
from quickstudy.masked import masked_mean
from quickstudy.targets.answers.base import Answer
from quickstudy.targets.distribution import Distribution
from quickstudy.targets.units import Units
from quickstudy.tasks.base import Source
from quickstudy.trust.base import Trust
from quickstudy.trust.draw import FIRST, Size, prepared
from quickstudy.trust.estimate import Accuracy
from quickstudy.trust.heard import Asked, Heard

_THIN = 1000  # pixels of a task that are looked at


class Seen(NamedTuple):
    """Of one task: its features (f,), and the logits (q, N) and classes (q,) of some of its pixels."""

    features: Tensor
    logits: Tensor
    y: Tensor


def own_features(learner: Learner, params: Params, support: Examples) -> Tensor:
    """What is known of a task, (4,): the log of the number of its images and, over the pixels of these, what is said of
    them once they are learned: confidence, the probability of their class in logarithms, and the share that is right.
    """
    target = learner.spec.target
    said = learner.predict(params, learner.adapt(params, support), support.x)
    places = target.labels(support, said)
    logs = target.rows(said).double().log_softmax(1)
    y, mask = torch.where(places.mask, places.y, 0), places.mask
    own = logs.gather(1, y[:, None])[:, 0].clamp(min=-20)
    right = masked_mean((logs.argmax(1) == y).double(), mask).clamp(0, 1)
    count = support.mask.sum().double()
    parts = [count.log(), masked_mean(logs.amax(1).exp(), mask), masked_mean(own, mask), right.sqrt().asin()]
    return torch.stack(parts)


def seen(engine: Engine, params: Params, source: Source, split: str, size: Size, first: int = FIRST) -> Iterator[Seen]:
    """Tasks of one size, learned and asked. engine: of the run."""
    engine, source = prepared(engine, params, source, split, size)
    learner = engine.learner

    def one(episode: Episode) -> tuple[Tensor, ...]:
        logits = learner.predict(params, learner.adapt(params, episode.support), episode.query.x)
        return own_features(learner, params, episode.support), logits

    for drawn in batches(source, split, size.tasks, engine.device, first):
        for i, (features, logits) in enumerate(zip(*engine.map(one, drawn), strict=True)):
            places = source.spec.target.labels(task(drawn, i).query, logits)
            here = places.mask.nonzero()[:, 0]
            here = here[:: max(1, len(here) // _THIN)]
            if len(here):
                yield Seen(features.cpu(), source.spec.target.rows(logits)[here].cpu(), places.y[here].cpu())


@dataclass(frozen=True, eq=False)
class PixelTrust:
    """Trust of one model of masks. features: see `own_features`."""

    trust: Trust
    features: Tensor

    def estimate(self, level: float = 0.9) -> Accuracy:
        raise ConfigError(
            "How often a model is right is told of classes of whole inputs. Of masks, the probability of each pixel is "
            "calibrated: see `doubt` of an answer."
        )

    def tempered(self, logits: Tensor) -> Tensor:
        """The logits (n, N, height, width) over the temperature."""
        return logits / self.temperature

    @property
    def temperature(self) -> float:
        """What the logits of pixels are divided by."""
        assert self.trust.pixels is not None
        return float(self.trust.pixels.temperature(self.features).exp())

    def heard(
        self, asked: Asked, x: Features, coverage: float | None = None, false_alarms: float | None = None
    ) -> Heard:
        """What to believe of what a model says of features x. ConfigError for a coverage, which nothing promises."""
        if coverage is not None:
            raise ConfigError(
                "A coverage is promised of numbers and of classes of whole inputs. Of masks, how sure each pixel is is "
                "calibrated: leave the coverage out, and see the doubt of the answer."
            )
        logits = asked.said(x).mean
        return Heard(Distribution(self.tempered(logits)), logits)

    def completed(self, answer: Answer, heard: Heard, units: Units | None, coverage: float | None) -> Answer:
        """The answer, of which all is said."""
        return answer

    @property
    def compared(self) -> None:
        """No support examples are: see `TaskTrust.compared`."""
        return None

    def facts(self, level: float, units: Units | None) -> dict[str, Any]:
        """As `TaskTrust.facts`."""
        return {"temperature": self.temperature}

    def tensors(self) -> State:
        """What is stored with the model, beside the JSON of `trust`."""
        return {"features": self.features}
