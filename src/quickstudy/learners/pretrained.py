"""The baselines every paper needs: ordinary training on all training classes, then a simple learner on top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.entries import CLASSIFIER, EMBEDDING_MEAN, NEW_HEAD, PARAMETER, TASK, prefixed, with_prefix
from quickstudy.episode import Episode, Examples, Features, Params, State
from quickstudy.heads import Prototypes, full_precision
from quickstudy.hints import Count, Steps
from quickstudy.inner import SGD, Adam, Rule
from quickstudy.learners.base import IterativeLearner, Learner
from quickstudy.learners.descent import begin, descend, task_parameters
from quickstudy.learners.moments import Moments
from quickstudy.learners.network import Network, Norm
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec

_NEAREST = Prototypes()


def _classifier(network: Network, spec: TaskSpec, classes: int, generator: torch.Generator) -> Params:
    """A linear layer from the flattened embedding to all training classes, drawn from `generator`."""
    spec.target.require_classes("A pretrained baseline", "Use 'maml' or 'r2d2'.")
    size = torch.Size(network.output_shape(spec.format)).numel()
    bound = size**-0.5
    weight = (torch.rand((classes, size), generator=generator) * 2 - 1) * bound
    return {f"{CLASSIFIER}weight": weight, f"{CLASSIFIER}bias": torch.zeros(classes)}


def _linear(z: Tensor, layer: Params) -> Tensor:
    with full_precision(z) as z:
        return F.linear(z, layer["weight"], layer["bias"])


@dataclass(frozen=True, kw_only=True)
class _Pretraining(Learner):
    """What the baselines share: φ is an encoder and a classifier over all `classes`, trained on pooled batches.

    Their training episodes have an empty support set and global class ids (see `tasks.classes.PooledSource`).
    """

    classes: int
    smoothing: float = 0.0
    pretrains: bool = True

    def init(self, generator: torch.Generator) -> Params:
        params = self.network.init(generator)
        return params | _classifier(self.network, self.spec, self.classes, generator)

    def embed(self, params: Params, x: Features) -> Tensor:
        """(n, D) embeddings, in float32 at least."""
        with full_precision(self.network(params, x)) as z:
            return z.flatten(1)

    def predicts_with(self, params: Params, state: State) -> tuple[Params, State]:
        return {name: value for name, value in params.items() if not name.startswith(CLASSIFIER)}, state

    def passes(self, params: Params, episode: Episode) -> Iterator[Moments]:
        """One pass over the pooled batch; there is no support set to adapt to."""
        with self.recording() as moments:
            self.embed(params, episode.query.x)
        yield moments

    def score(self, params: Params, episode: Episode) -> tuple[Tensor, Tensor]:
        """Loss and accuracy over all training classes on a pooled batch."""
        logits = _linear(self.embed(params, episode.query.x), prefixed(CLASSIFIER, params))
        every = self.spec.target.at(self.classes)
        return every.loss(logits, episode.query, self.smoothing), every.score(logits, episode.query)


@dataclass(frozen=True, kw_only=True)
class SimpleShot(_Pretraining):
    """Nearest centroid over centred and normalised embeddings (CL2N).

    The logits are minus the squared distances, as in prototypical networks; the paper needs no more than their order.
    """

    centre: bool = True

    def calibrate(self, params: Params, episodes: list[Episode]) -> Params:
        params = super().calibrate(params, episodes)
        if not self.centre:
            return params
        with torch.no_grad():
            z = torch.cat([self.embed(params, episode.query.x) for episode in episodes])
        return params | {EMBEDDING_MEAN: z.mean(dim=0)}

    def _transform(self, params: Params, z: Tensor) -> Tensor:
        return F.normalize(z - params[EMBEDDING_MEAN] if EMBEDDING_MEAN in params else z, dim=1)

    def adapt(self, params: Params, support: Examples) -> State:
        with full_precision(self._transform(params, self.embed(params, support.x))) as z:
            return _NEAREST.fit({}, z, support, self.spec)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        with full_precision(self._transform(params, self.embed(params, x))) as z:
            return _NEAREST.logits({}, state, z, self.spec)


@dataclass(frozen=True, kw_only=True)
class FineTuning(_Pretraining, IterativeLearner):
    """A new linear head on the pretrained encoder, trained on the support set; optionally the encoder moves too."""

    rule: Rule
    tune: Literal["head", "all"] = "head"

    def start(self, params: Params, support: Examples) -> State:
        z = self.embed(params, support.x)
        weight = z.new_zeros((self.spec.ways, z.shape[1]))
        task = {f"{NEW_HEAD}weight": weight, f"{NEW_HEAD}bias": weight[:, 0]}
        if self.tune == "all":
            encoder = self.network.movable(params)
            task |= {name: value for name, value in encoder.items() if not self.network.per_step(name)}
        state = begin(self.rule, task)
        return state if self.tune == "all" else state | {"embedded": z}

    def step(self, params: Params, state: State, support: Examples) -> State:
        def support_loss(task: Params, shared: Params) -> Tensor:
            z = state["embedded"] if self.tune == "head" else self._embed_with(shared, task, support.x)
            return self.spec.target.loss(_linear(z, prefixed(NEW_HEAD, task)), support)

        return descend(self.rule, state, support_loss, params)

    def _embed_with(self, params: Params, task: Params, x: Features) -> Tensor:
        return self.network(params, x, {n: v for n, v in task.items() if not n.startswith(NEW_HEAD)}).flatten(1)

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        task = task_parameters(state)
        return _linear(self._embed_with(params, task, x), prefixed(NEW_HEAD, task))

    def predicts_with(self, params: Params, state: State) -> tuple[Params, State]:
        task = task_parameters(state)
        params, _ = super().predicts_with(params, state)
        own = {name: value for name, value in params.items() if name.removeprefix(PARAMETER) not in task}
        return own, with_prefix(TASK, task)


@learners.register("simpleshot", pretrains=True)
def simpleshot(
    module: nn.Module,
    spec: TaskSpec,
    *,
    classes: Count = 0,
    centre: bool = True,
    smoothing: float = 0.0,
    norm: Norm = "running",
) -> SimpleShot:
    """Baseline: nearest centroid on an encoder trained by ordinary classification (SimpleShot, Wang et al. 2019).

    classes: number of training classes (0 until it is known). centre: subtract the mean training embedding.
    smoothing: share of each training label that is spread over all classes.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return SimpleShot(network=Network(module, norm), spec=spec, classes=classes, centre=centre, smoothing=smoothing)


@learners.register("finetune", pretrains=True)
def finetune(
    module: nn.Module,
    spec: TaskSpec,
    *,
    classes: Count = 0,
    lr: float = 0.01,
    steps: Steps = 100,
    rule: Literal["sgd", "adam"] = "adam",
    tune: Literal["head", "all"] = "head",
    smoothing: float = 0.0,
    norm: Norm = "running",
) -> FineTuning:
    """Baseline: train a new head on an encoder trained by ordinary classification (Chen et al. 2019).

    classes: number of training classes (0 until it is known). lr, steps, rule: of fine-tuning on the support set.
    tune: 'head', or 'all' to move the encoder as well.
    smoothing: share of each training label that is spread over all classes.
    norm: what BatchNorm layers normalise by: 'running' averages over training tasks, or the 'batch' at hand.
    """
    return FineTuning(
        network=Network(module, norm, inner_loop=False),
        spec=spec,
        classes=classes,
        rule=(SGD if rule == "sgd" else Adam)(lr=lr),
        steps=steps,
        tune=tune,
        smoothing=smoothing,
    )
