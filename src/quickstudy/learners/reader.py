"""Learners whose network reads the support set and answers: adapting is one forward pass, without gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy import losses
from quickstudy.entries import READ, with_prefix
from quickstudy.episode import Episode, Examples, Features, Params, State, TaskSpec
from quickstudy.errors import ConfigError, ModelError
from quickstudy.heads import ABSENT, full_precision, one_hot
from quickstudy.learners.base import Learner
from quickstudy.models.readers import READINGS, Reader

INSTANCES = (1, 2, 3, 4, 5, 10)
"""At which times that a class is met the accuracy online is told (Santoro et al. 2016, table 1)."""
_LEAST = 1e-3  # standard deviation, in the units of the target as the network sees it


@dataclass(frozen=True, kw_only=True)
class ReaderLearner(Learner):
    """φ is a network that reads; ψ is what it has read. See `quickstudy.models.readers`.

    limit: the most classes that the network was built for; None where it takes any number. For regression it gives a
    mean and a standard deviation, and the loss is the negative log-likelihood of the targets, in nats for each number.
    standardise: inputs are shifted and scaled by the support set's mean and spread, and so are regression targets; what
    does not vary is 0.
    online: the loss is over the whole sequence, each example being judged before its target is read.
    """

    limit: int | None = None
    standardise: bool = False
    online: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.network.module, Reader):
            raise ModelError(
                f"The network must be a models.readers.Reader, found {type(self.network.module).__name__}."
            )
        if self.online and self.spec.kind == "regression":
            raise ConfigError("Reading online is for classification: leave online=False for regression.")
        if self.limit is not None and self.spec.kind == "classification" and self.spec.ways > self.limit:
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
        return self.spec.kind == "classification" and self.limit is None

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator)

    def adapt(self, params: Params, support: Examples) -> State:
        scale = self._scale(support)
        request = {"x": _scaled(support.x, scale), "y": self._targets(support, scale), "mask": support.mask}
        state: State = with_prefix(READ, cast(State, self.network(params, request)))  # type: ignore[arg-type]
        if self.spec.kind == "classification":
            state["present"] = one_hot(support, self.spec.ways, torch.float32).any(dim=0)
        return state | scale

    def _targets(self, support: Examples, scale: State) -> Tensor:
        """(n, inputs): what the network sees of the targets."""
        like = next(iter(support.x.values())) if isinstance(support.x, dict) else support.x
        if self.spec.kind == "classification":
            return F.one_hot(support.y, self.limit or self.spec.ways).to(like.dtype)
        y = support.y.unsqueeze(-1).flatten(1).to(like.dtype)
        return (y - scale["y.mean"]) / scale["y.spread"] if self.standardise else y

    def _scale(self, support: Examples) -> State:
        """Mean and spread of the support set: of inputs, 0 for what does not vary, and of a regression's targets."""
        if not self.standardise:
            return {}
        if not isinstance(support.x, Tensor):
            raise ConfigError("standardise=True scales inputs that are one tensor, and these are a dict of tensors.")
        values = {"x": support.x} | (
            {"y": support.y.unsqueeze(-1).flatten(1)} if self.spec.kind == "regression" else {}
        )
        scale: State = {}
        for name, value in values.items():
            mask = support.mask.view(-1, *[1] * (value.dim() - 1))
            mean, spread = losses.mean_and_spread(value, mask, dim=0)
            scale |= {f"{name}.mean": mean[0], f"{name}.spread": spread[0]}
        if "y.spread" in scale:  # targets that are all alike keep their unit
            scale["y.spread"] = torch.where(scale["y.spread"] > 0, scale["y.spread"], 1.0)
        return scale

    def _answer(self, params: Params, state: State, x: Features) -> Tensor:
        read = {name: value for name, value in state.items() if name.startswith(READ)}
        return self.network(params, {"query": _scaled(x, state), **read})  # type: ignore[dict-item]

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        if self.spec.kind == "regression":
            return self.distribution(params, state, x)[0]
        logits = self._answer(params, state, x)[:, : self.spec.ways]
        return logits if self.online else torch.where(state["present"], logits, ABSENT)

    def distribution(self, params: Params, state: State, x: Features) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the target for each query, (m, *target), as a normal distribution."""
        if self.spec.kind != "regression":
            raise ConfigError(
                "A distribution over targets is for regression; these are classes, whose logits `predict` gives."
            )
        with full_precision(self._answer(params, state, x)) as answer:
            mean, raw = answer.chunk(2, dim=1)
            spread = _LEAST + F.softplus(raw)
            if self.standardise:
                mean, spread = state["y.mean"] + state["y.spread"] * mean, state["y.spread"] * spread
        shape = (-1, *self.spec.target_shape)
        return mean.reshape(shape), spread.reshape(shape)

    def judge(self, params: Params, state: State, query: Examples) -> tuple[Tensor, Tensor]:
        if self.spec.kind == "classification":
            return super().judge(params, state, query)
        mean, spread = self.distribution(params, state, query.x)
        return losses.masked_mean(surprise(mean, spread, query.y), query.mask), losses.metric(mean, query, self.spec)

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        if not self.online:
            return super().score(params, episode)
        state = self.adapt(params, episode.support)
        logits, query = self.readings(state), self.predict(params, state, episode.query.x)
        joined = Examples(
            torch.cat([logits, query]),
            torch.cat([episode.support.y, episode.query.y]),
            torch.cat([episode.support.mask, episode.query.mask]),
        )
        return losses.loss(cast(Tensor, joined.x), joined, self.spec), losses.metric(query, episode.query, self.spec)

    def readings(self, state: State) -> Tensor:
        """(n, ways): what was predicted of each support example before its label was read. For `online` learners."""
        return state[READ + READINGS][:, : self.spec.ways]

    @property
    def figure_names(self) -> tuple[str, ...]:
        if self.spec.kind == "regression":
            return ("nll",)
        return tuple(f"accuracy at instance {k}" for k in INSTANCES) if self.online else ()

    def figures(self, params: Params, episode: Episode) -> dict[str, Tensor]:
        """The negative log-likelihood of regression targets; or the accuracy online, the k-th time a class is met."""
        if not self.figure_names:
            return {}
        state = self.adapt(params, episode.support)
        if self.spec.kind == "regression":
            return {"nll": self.judge(params, state, episode.query)[0]}
        labels = F.one_hot(episode.support.y, self.spec.ways) * episode.support.mask[:, None]
        times = (labels.cumsum(0) * labels).sum(1)
        right = self.readings(state).argmax(1) == episode.support.y
        accuracies = [(right & (times == k)).sum() / (times == k).sum() for k in INSTANCES]
        return dict(zip(self.figure_names, accuracies, strict=True))

    def at(self, spec: TaskSpec) -> ReaderLearner:
        if spec.kind != self.spec.kind or (spec.kind == "regression" and spec.outputs != self.spec.outputs):
            raise ConfigError(
                f"This network was built for {self.spec.kind} with {self.spec.outputs} outputs and cannot do "
                f"{spec.kind} with {spec.outputs}. Train one for such tasks."
            )
        return replace(self, spec=spec)


def surprise(mean: Tensor, spread: Tensor, y: Tensor) -> Tensor:
    """(n,): the negative log-density of targets y (n, *target) under normal distributions, mean over the numbers."""
    each = 0.5 * ((y - mean) / spread).square() + spread.log() + 0.5 * math.log(2 * math.pi)
    return each.unsqueeze(-1).flatten(1).mean(1)


def _scaled(x: Features, scale: State) -> Features:
    if "x.mean" not in scale or not isinstance(x, Tensor):
        return x
    spread = scale["x.spread"]
    return torch.where(spread > 0, (x - scale["x.mean"]) / torch.where(spread > 0, spread, 1.0), 0.0)
