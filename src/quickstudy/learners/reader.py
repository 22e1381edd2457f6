"""Learners whose network reads the support set and answers: adapting is one forward pass, without gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from quickstudy.entries import READ, with_prefix
from quickstudy.episode import Episode, Examples, Features, Params, State, joined, leaves, map_features
from quickstudy.errors import ConfigError, ModelError
from quickstudy.heads import full_precision
from quickstudy.learners.base import Learner
from quickstudy.masked import masked_mean, mean_and_spread, one_hot
from quickstudy.models.readers import READINGS, Reader
from quickstudy.spec import TaskSpec
from quickstudy.targets.distribution import Distribution

INSTANCES = (1, 2, 3, 4, 5, 10)
"""At which times that a class is met the accuracy online is told (Santoro et al. 2016, table 1)."""


@dataclass(frozen=True, kw_only=True)
class ReaderLearner(Learner):
    """φ is a network that reads; ψ is what it has read. See `quickstudy.models.readers`.

    limit: the most classes that the network was built for; None where it takes any number. Of labels that are numbers
    it gives a mean and a standard deviation, and the loss is the negative log-likelihood of the labels, in nats for
    each number. standardise: inputs are shifted and scaled by the support set's mean and spread, and so are labels that
    are numbers; what does not vary is 0.
    in_spreads: labels that are numbers are so scaled, and inputs stay as they are.
    online: the loss is over the whole sequence, each example being judged before its target is read.
    """

    limit: int | None = None
    standardise: bool = False
    in_spreads: bool = False
    online: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.network.module, Reader):
            raise ModelError(
                f"The network must be a models.readers.Reader, found {type(self.network.module).__name__}."
            )
        if self.online:
            self.spec.target.require_classes("Reading online", "Leave online=False.")
        if self.spec.target.grid:
            self.spec.target.require_classes("A learner that reads", "Use the learners 'decoder', 'r2d2' or 'maml'.")
        if self.limit is not None and self.spec.ways > self.limit:
            raise ConfigError(
                f"These are {self.spec.ways}-way tasks, but the network was built for at most {self.limit} classes. "
                "Give tasks of fewer classes, or train a network with a higher limit (--learner.limit)."
            )

    @property
    def reader(self) -> Reader:
        return cast(Reader, self.network.module)

    @property
    def exchangeable(self) -> bool:
        return not self.reader.ordered

    @property
    def symmetric(self) -> bool:
        return super().symmetric and self.limit is None

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator)

    def adapt(self, params: Params, support: Examples) -> State:
        scale = self._scale(support)
        request = {"x": _scaled(support.x, scale), "y": self._labels(support, scale), "mask": support.mask}
        state: State = with_prefix(READ, cast(State, self.network(params, request)))  # type: ignore[arg-type]
        return state | self.spec.target.seen(support) | scale

    def _labels(self, support: Examples, scale: State) -> Tensor:
        """(n, inputs): what the network sees of the labels."""
        widest = self.spec.target.at(self.limit or self.spec.ways)
        return widest.scaled(widest.coded(support, leaves(support.x)[0].dtype), _of_labels(scale))

    def _scale(self, support: Examples) -> State:
        """Mean and spread of the support set: of inputs, 0 for what does not vary, and of labels that are numbers."""
        labels = self.spec.target.scale(support) if self.standardise or self.in_spreads else {}
        if not self.standardise:
            return labels
        if len(self.spec.format.layout) > 1:
            raise ConfigError("standardise=True scales inputs that are one tensor, and these are several.")
        x = leaves(support.x)[0]
        mean, spread = mean_and_spread(x, support.mask.view(-1, *[1] * (x.dim() - 1)), dim=0)
        return {"x.mean": mean[0], "x.spread": spread[0]} | labels

    def _answer(self, params: Params, state: State, x: Features) -> Tensor:
        read = {name: value for name, value in state.items() if name.startswith(READ)}
        return self.network(params, {"query": _scaled(x, state), **read})  # type: ignore[dict-item]

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        said = self.predictive(params, state, x)
        if said is not None:
            return said.mean
        logits = self._answer(params, state, x)[:, : self.spec.outputs]
        logits = logits.reshape(-1, *self.spec.target.prediction_shape)
        return logits if self.online else self.spec.target.among(logits, state)

    def predictive(self, params: Params, state: State, x: Features) -> Distribution | None:
        """Normal distributions, where labels are numbers."""
        if not self.spec.target.density:
            return None
        with full_precision(self._answer(params, state, x)) as answer:
            return self.spec.target.distribution(answer, _of_labels(state))

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        said = self.predictive(params, state, query.x)
        if said is None:
            return super().judge(params, state, query)
        target = self.spec.target
        return masked_mean(target.surprise(said, query.y), query.mask), target.score(said.mean, query)

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        if not self.online:
            return super().score(params, episode)
        state = self.adapt(params, episode.support)
        logits, query = self.readings(state), self.predict(params, state, episode.query.x)
        everything, target = joined(episode.support, episode.query), self.spec.target
        return target.loss(torch.cat([logits, query]), everything), target.score(query, episode.query)

    def readings(self, state: State) -> Tensor:
        """(n, ways): what was predicted of each support example before its label was read. For `online` learners."""
        return state[READ + READINGS][:, : self.spec.ways]

    @property
    def figure_names(self) -> tuple[str, ...]:
        if self.spec.target.density:
            return ("nll",)
        return tuple(f"{self.spec.target.metric.name} at instance {k}" for k in INSTANCES) if self.online else ()

    def figures(self, params: Params, episode: Episode) -> dict[str, Tensor]:
        """The negative log-likelihood where there is a density; or the metric online, the k-th time a class is met."""
        if not self.figure_names:
            return {}
        state = self.adapt(params, episode.support)
        if self.spec.target.density:
            return {"nll": self.judge(params, state, episode.query)[0]}
        labels = one_hot(episode.support.y, self.spec.ways) * episode.support.mask[:, None]
        times = (labels.cumsum(0) * labels).sum(1)
        right = self.readings(state).argmax(1) == episode.support.y
        shares = [(right & (times == k)).sum() / (times == k).sum() for k in INSTANCES]
        return dict(zip(self.figure_names, shares, strict=True))

    def at(self, spec: TaskSpec) -> ReaderLearner:
        if not self.spec.target.fits(spec.target):
            raise ConfigError(
                f"This network was built for tasks of {self.spec.target} and cannot do {spec.target}. Train one for "
                "such tasks."
            )
        return replace(self, spec=spec)


def _of_labels(scale: State) -> State:
    """The entries about labels, of those that `_scale` makes."""
    return {name: value for name, value in scale.items() if name.startswith("y.")}


def _scaled(x: Features, scale: State) -> Features:
    if "x.mean" not in scale:
        return x
    mean, spread = scale["x.mean"], scale["x.spread"]
    return map_features(lambda t: torch.where(spread > 0, (t - mean) / torch.where(spread > 0, spread, 1.0), 0.0), x)
