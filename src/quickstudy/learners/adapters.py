"""A frozen encoder, of which small parts are fitted to each task by gradient descent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from quickstudy.entries import HEAD, PARAMETER, RULE, TASK, prefixed, with_prefix
from quickstudy.episode import Episode, Examples, Features, Params, State
from quickstudy.heads import Head, Prototypes, full_precision
from quickstudy.hints import Steps
from quickstudy.inner import SGD, Adam, Rule
from quickstudy.learners.descent import begin, descend, task_parameters
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.learners.moments import Moments
from quickstudy.learners.network import Network, Norm
from quickstudy.models.adapters import Adapted, Adapters
from quickstudy.registry import learners
from quickstudy.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class AdapterLearner(IterativeLearner):
    """φ is an encoder whose small parts alone are not frozen; ψ has a task's own of these, and what the head fits.

    They are moved by the loss of the head on the support set that it was fitted to. Meta-training finds where they
    start from; without it they begin as parts that change nothing.
    """

    rule: Rule
    head: Head

    def __post_init__(self) -> None:
        super().__post_init__()
        self.head.check(self.spec)

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator) | with_prefix(HEAD, self.head.init(self.spec))

    def _fitted(self, params: Params, task: Params, support: Examples) -> tuple[Tensor, State]:
        with full_precision(self.network(params, support.x, task).flatten(1)) as z:
            return z, self.head.fit(prefixed(HEAD, params), z, support, self.spec)

    def start(self, params: Params, support: Examples) -> State:
        task = {n: v for n, v in self.network.movable(params).items() if not self.network.per_step(n)}
        return begin(self.rule, task) | self._fitted(params, task, support)[1]

    def step(self, params: Params, state: State, support: Examples) -> State:
        def support_loss(task: Params, shared: Params) -> Tensor:
            z, fitted = self._fitted(shared, task, support)
            logits = self.head.logits(prefixed(HEAD, shared), fitted, z, self.spec)
            return self.spec.target.loss(logits, support)

        state = descend(self.rule, state, support_loss, params)
        return state | self._fitted(params, task_parameters(state), support)[1]

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        with full_precision(self.network(params, x, task_parameters(state)).flatten(1)) as z:
            return self.head.logits(prefixed(HEAD, params), state, z, self.spec)

    def passes(self, params: Params, episode: Episode) -> Iterator[Moments]:
        """One pass over all examples before the first step: statistics are the frozen encoder's, not a task's."""
        with self.recording() as moments:
            self.network(params, episode.support.x)
            self.network(params, episode.query.x)
        yield moments

    def predicts_with(self, params: Params, state: State) -> tuple[Params, State]:
        task = task_parameters(state)
        own = {name: value for name, value in params.items() if name.removeprefix(PARAMETER) not in task}
        kept = {name: value for name, value in state.items() if not name.startswith((TASK, RULE))}
        return own, kept | with_prefix(TASK, task)


def _adapting(
    module: nn.Module, spec: TaskSpec, how: Adapters, lr: float, steps: int, rule: str, temperature: float, norm: Norm
) -> AdapterLearner:
    size = torch.Size(Network(module, norm).output_shape(spec.format)).numel() if how == "tsa" else 0
    return AdapterLearner(
        network=Network(Adapted(module, how, size), norm),
        spec=spec,
        rule=(SGD if rule == "sgd" else Adam)(lr=lr),
        head=Prototypes("cosine", temperature),
        steps=steps,
    )


@learners.register("tsa")
def tsa(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.003,
    steps: Steps = 40,
    rule: Literal["sgd", "adam"] = "adam",
    temperature: float = 10.0,
    norm: Norm = "running",
) -> AdapterLearner:
    """TSA: adapters beside a frozen encoder's convolutions, and a map of its embedding, per task (Li et al. 2022).

    They are fitted to the support set by the cosines to its class means. Such means, over the adapted embeddings, are
    what queries are held against. The paper's optimizer is Adadelta.

    module: a trained encoder, (n, *features) to (n, D). lr, steps, rule: of fitting the adapters.
    temperature: scale of the cosines.
    norm: what BatchNorm layers normalise by: 'given' with an encoder that was trained elsewhere; see `protonet`.
    """
    return _adapting(module, spec, "tsa", lr, steps, rule, temperature, norm)


@learners.register("film")
def film(
    module: nn.Module,
    spec: TaskSpec,
    *,
    lr: float = 0.01,
    steps: Steps = 40,
    rule: Literal["sgd", "adam"] = "adam",
    temperature: float = 10.0,
    norm: Norm = "running",
) -> AdapterLearner:
    """FiLM: a scale and a shift of each channel of a frozen encoder, fitted per task (Perez et al. 2018).

    As `tsa`, with the smallest of adapters and without a map of the embedding.

    module: a trained encoder, (n, *features) to (n, D). lr, steps, rule: of fitting scales and shifts.
    temperature: scale of the cosines.
    norm: what BatchNorm layers normalise by: 'given' with an encoder that was trained elsewhere; see `protonet`.
    """
    return _adapting(module, spec, "film", lr, steps, rule, temperature, norm)
