"""Ordinary training on all training classes, then a simple learner on top; see `pretrained_family`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from quickstudy.entries import (
    CLASSIFIER,
    EMBEDDING_MEAN,
    NEW_HEAD,
    PARAMETER,
    TASK,
    TEACHER,
    WHITENING,
    prefixed,
    with_prefix,
)
from quickstudy.episode import Episode, Examples, Features, Params, State, map_features
from quickstudy.errors import ConfigError
from quickstudy.heads import Head, Prototypes, full_precision
from quickstudy.inner import Rule
from quickstudy.learners.base import Learner
from quickstudy.learners.classifiers import Classifier, Linear
from quickstudy.learners.descent import begin, descend, task_parameters
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.learners.moments import Moments
from quickstudy.learners.network import PASSING
from quickstudy.masked import UNLABELLED, masked_mean
from quickstudy.tally import Tally

_FAINTEST = 1e-8  # of the largest variance: less is rounding


@dataclass(frozen=True, kw_only=True)
class Pretraining(Learner):
    """What the baselines share: φ is an encoder and a classifier over all `classes`, trained on pooled batches.

    Their training episodes have an empty support set and global class ids (see `tasks.pooled.PooledSource`).
    smoothing: of labels. distil: β, how much of the loss is the distance from a teacher's answers, see `score`; φ then
    holds the teacher's, under TEACHER. distil_temperature: T, by which both answers are softened.
    """

    classes: int
    smoothing: float = 0.0
    pretrains: bool = True
    classifier: Classifier = field(default_factory=Linear)
    distil: float = 0.0
    distil_temperature: float = 4.0

    def __post_init__(self) -> None:
        if not (0 <= self.distil <= 1 and self.distil_temperature > 0):
            raise ConfigError(
                f"distil must lie in [0, 1] and its temperature be positive, found {self.distil} and "
                f"{self.distil_temperature}."
            )

    def init(self, generator: torch.Generator) -> Params:
        params = self._untaught(generator)
        return params | (with_prefix(TEACHER, self._untaught(generator)) if self.distil else {})

    def _untaught(self, generator: torch.Generator) -> Params:
        params = self.network.init(generator)
        self.spec.target.require_classes("A pretrained baseline", "Use 'maml' or 'r2d2'.")
        size = torch.Size(self.network.output_shape(self.spec.format)).numel()
        return params | with_prefix(CLASSIFIER, self.classifier.init(size, self.classes, generator))

    def embed(self, params: Params, x: Features) -> Tensor:
        """(n, D) embeddings, in float32 at least."""
        with full_precision(self.network(params, x)) as z:
            return z.flatten(1)

    def _all_classes(self, params: Params, x: Features) -> Tensor:
        return self.classifier.logits(prefixed(CLASSIFIER, params), self.embed(params, x))

    def predicts_with(self, params: Params, state: State) -> tuple[Params, State]:
        return {name: value for name, value in params.items() if not name.startswith((CLASSIFIER, TEACHER))}, state

    def passes(self, params: Params, episode: Episode) -> Iterator[Moments]:
        """One pass over the pooled batch; there is no support set to adapt to."""
        with self.recording() as moments:
            self.embed(params, episode.query.x)
        yield moments

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        """Loss and accuracy over all training classes on a pooled batch.

        With a teacher the loss is (1 − β) ℓ + β T² KL(softmax(t / T) ‖ softmax(s / T)), where s are logits and t the
        teacher's (Hinton, Vinyals & Dean 2015), which normalises by its own statistics.
        """
        query, every = episode.query, self.spec.target.at(self.classes)
        logits = self._all_classes(params, query.x)
        loss = every.loss(logits, query, self.smoothing)
        if self.distil:
            t = self.distil_temperature
            taught = (self._all_classes(prefixed(TEACHER, params), query.x).detach() / t).log_softmax(1)
            away = F.kl_div((logits / t).log_softmax(1), taught, reduction="none", log_target=True).sum(1)
            loss = (1 - self.distil) * loss + self.distil * t**2 * masked_mean(away, query.mask)
        return loss, every.score(logits, query)


@dataclass(frozen=True, kw_only=True)
class PretrainedEmbedding(Pretraining):
    """A head in closed form on embeddings of length 1. centre: less the mean of training embeddings, before that.

    shrinkage: below 1, embeddings are whitened within training classes, too, before they are scaled; see `whitening`.
    """

    head: Head = field(default_factory=Prototypes)
    centre: bool = False
    shrinkage: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.shrinkage <= 1:
            raise ConfigError(f"shrinkage must lie in [0, 1], where 1 whitens nothing; found {self.shrinkage}.")

    def calibrate(self, params: Params, episodes: list[Episode]) -> Params:
        """Also the mean of embeddings, and whitening by those of known classes; where no class is told, it stays."""
        before, params = params.get(WHITENING), super().calibrate(params, episodes)
        if not self.centre and self.shrinkage == 1:
            return params
        with torch.no_grad():
            z = torch.cat([self.embed(params, episode.query.x) for episode in episodes])
            taken: Params = {EMBEDDING_MEAN: z.mean(dim=0)} if self.centre else {}
            if self.shrinkage < 1:
                y, mask = (torch.cat([getattr(episode.query, part) for episode in episodes]) for part in ("y", "mask"))
                told = mask & (y != UNLABELLED)
                if bool(told.any()):
                    taken[WHITENING] = whitening(z[told], y[told], self.shrinkage)
                elif before is not None:
                    taken[WHITENING] = before
        return params | taken

    def compared(self, params: Params, z: Features) -> Features:
        return map_features(lambda t: self.head.comparable(self._transform(params, t)), z)

    @property
    def embedded(self) -> PretrainedEmbedding | None:
        return None if self.network.transductive else replace(self, network=PASSING)

    def _transform(self, params: Params, z: Tensor) -> Tensor:
        if EMBEDDING_MEAN in params:
            z = z - params[EMBEDDING_MEAN]
        if WHITENING in params:
            z = z @ params[WHITENING]
        return F.normalize(z, dim=1)

    def adapt(self, params: Params, support: Examples) -> State:
        with full_precision(self._transform(params, self.embed(params, support.x))) as z:
            return self.head.fit({}, z, support, self.spec)

    def tally(self, params: Params, support: Examples) -> Tally | None:
        if self.transductive:  # features would be others in another batch
            return None
        with full_precision(self._transform(params, self.embed(params, support.x))) as z:
            return self.head.tally({}, z, support, self.spec)

    def settled(self, params: Params, tally: Tally) -> State:
        return self.head.settled({}, tally, self.spec)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        with full_precision(self._transform(params, self.embed(params, x))) as z:
            return self.head.logits({}, state, z, self.spec)


@dataclass(frozen=True, kw_only=True)
class FineTuning(Pretraining, IterativeLearner):
    """A new classifier on the pretrained encoder, trained on the support set; optionally the encoder moves too."""

    rule: Rule
    tune: Literal["head", "all"] = "head"

    def __post_init__(self) -> None:
        Pretraining.__post_init__(self)
        IterativeLearner.__post_init__(self)

    def start(self, params: Params, support: Examples) -> State:
        z = self.embed(params, support.x)
        task = with_prefix(NEW_HEAD, self.classifier.new(z, support, self.spec.ways))
        if self.tune == "all":
            encoder = self.network.movable(params)
            task |= {name: value for name, value in encoder.items() if not self.network.per_step(name)}
        state = begin(self.rule, task)
        return state if self.tune == "all" else state | {"embedded": z}

    def step(self, params: Params, state: State, support: Examples) -> State:
        def support_loss(task: Params, shared: Params) -> Tensor:
            z = state["embedded"] if self.tune == "head" else self._embed_with(shared, task, support.x)
            return self.spec.target.loss(self.classifier.logits(prefixed(NEW_HEAD, task), z), support)

        return descend(self.rule, state, support_loss, params)

    def _embed_with(self, params: Params, task: Params, x: Features) -> Tensor:
        return self.network(params, x, task).flatten(1)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        task = task_parameters(state)
        return self.classifier.logits(prefixed(NEW_HEAD, task), self._embed_with(params, task, x))

    def predicts_with(self, params: Params, state: State) -> tuple[Params, State]:
        task = task_parameters(state)
        params, _ = super().predicts_with(params, state)
        own = {name: value for name, value in params.items() if name.removeprefix(PARAMETER) not in task}
        return own, with_prefix(TASK, task)


def whitening(z: Tensor, y: Tensor, shrinkage: float) -> Tensor:
    """C^(-1/2), (D, D), where C is the covariance of embeddings z (n, D) about the means of their classes y (n,).

    Directions in which examples of one class differ, as by speakers or microphones, then count less (within-class
    covariance normalisation, Hatch, Kajarekar & Stolcke 2006). shrinkage: share of C that is replaced by the multiple
    of the identity with the same trace (Ledoit & Wolf 2004). Where no class has two examples, the identity.

    >>> z = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 9.0], [1.0, 7.0]])
    >>> whitening(z, torch.tensor([0, 0, 1, 1]), 0.0)
    tensor([[0.5000, 0.0000],
            [0.0000, 1.0000]])
    """
    _, number, counts = y.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    exact = z.double()
    means = exact.new_zeros((len(counts), z.shape[1])).index_add(0, number, exact) / counts[:, None]
    within, free = exact - means[number], len(z) - len(counts)
    scatter = within.T @ within
    even = scatter.trace() / len(scatter)
    same = torch.eye(len(scatter), dtype=exact.dtype, device=z.device)
    if free < 1 or float(even) <= 0:
        return same.to(z.dtype)
    size, direction = torch.linalg.eigh(((1 - shrinkage) * scatter + shrinkage * even * same) / free)
    roots = size.clamp(min=_FAINTEST * float(size[-1])).rsqrt()
    root: Tensor = (direction * roots) @ direction.T
    return root.to(z.dtype)
