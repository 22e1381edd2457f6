"""The contract of a meta-gradient estimator.

An estimator maps (learner, φ, episode) to a `Score` whose `surrogate` is a scalar with the estimator's value of ∂L/∂φ,
summed over tasks, as its gradient. Its functions are written for one task; the `Runner` it is given decides whether
they run for one task or for many at once, and whether they are compiled.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from quickstudy.episode import Episode, Examples, Params, State
from quickstudy.errors import ConfigError
from quickstudy.learners.base import Learner
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.tasks.base import Source

Function = Callable[..., Any]


class Score(NamedTuple):
    """surrogate: scalar whose gradient is the estimate, summed over tasks.

    loss, metric: of the query set, for people; scalars, or (T,) where there are many tasks.
    extra: what else the estimator can say about how good its estimate is, by name; shaped like loss.
    """

    surrogate: Tensor
    loss: Tensor
    metric: Tensor
    extra: Mapping[str, Tensor] = MappingProxyType({})


class Runner:
    """How an estimator's functions run. This one runs them as they are, for one task; engines have their own.

    keys: a seed for each task, () or (T,) int64, for estimators that draw random numbers; None where there are none.
    """

    keys: Tensor | None = None

    def tasks(self, function: Function) -> Function:
        """`function(φ, *of one task)` for all tasks: φ is shared, every other argument and result has a task axis."""
        return function

    def part(self, name: str, function: Function) -> Function:
        """A function of nested tensors, without gradients, that may be compiled on its own; `name` tells it apart."""
        return function


ONE_TASK = Runner()


class Metagrad(ABC):
    """An estimator of the meta-gradient.

    exact: it equals `unrolled` but for rounding. stepwise: an inner step is a part of it, so that compiling its parts
    does not take longer for more of them. reports: its `extra`.
    """

    exact: ClassVar[bool] = False
    stepwise: ClassVar[bool] = False
    reports: ClassVar[tuple[str, ...]] = ()

    def plays(self, learner: Learner) -> bool:
        """Whether it compares what several φ bring where they act, so that its episodes are good for one step."""
        return False

    def collected(
        self, learner: Learner, params: Params, source: Source, split: str, indices: Tensor, keys: Tensor
    ) -> Episode:
        """The episodes `indices` (T,) of a source that the estimate is made of. keys: (T,), those of the runner."""
        return source.under(learner, params).episodes(split, indices)

    @abstractmethod
    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        """The score of one task, or of all tasks of a batch where `runner` runs batches."""


class OneTask(Metagrad):
    """An estimator that is one differentiable function of one task."""

    @abstractmethod
    def score(self, learner: Learner, params: Params, episode: Episode) -> Score:
        """The score of one task."""

    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        def score(params: Params, episode: Episode) -> tuple[Tensor, Tensor, Tensor, Params]:
            score = self.score(learner, params, episode)
            return score.surrogate, score.loss.detach(), score.metric.detach(), detached(score.extra)

        surrogate, loss, metric, extra = runner.tasks(score)(params, episode)
        return Score(surrogate.sum(), loss, metric, extra)


def detached(params: Mapping[str, Tensor]) -> Params:
    """The same values as constants."""
    return {name: value.detach() for name, value in params.items()}


@dataclass(frozen=True)
class _Held:
    grads: Sequence[Tensor]


class _Attached(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, held: _Held, *params: Tensor) -> Tensor:
        ctx.held = held
        return value.clone()

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(above * grad for grad in ctx.held.grads)


def attached(value: Tensor, params: Params, grads: Params) -> Tensor:
    """`value` with the gradient `grads` (by name; others 0) in `params`: for estimators that compute it themselves."""
    names = list(grads)
    result: Tensor = _Attached.apply(  # type: ignore[no-untyped-call]
        value.detach(), _Held([grads[n] for n in names]), *(params[n] for n in names)
    )
    return result


def walk(learner: IterativeLearner, runner: Runner, params: Params, support: Examples, steps: int) -> Iterator[State]:
    """The states ψ_0, ψ_1, … ψ_steps of all tasks, as constants. One step is a part, so that it is compiled once."""
    fixed, step = detached(params), runner.tasks(learner.step)

    def ahead(params: Params, state: State, support: Examples) -> State:
        with torch.no_grad():
            after: State = step(params, state, support)
        return after

    one = runner.part("step", ahead)
    with torch.no_grad():
        state: State = runner.tasks(learner.start)(fixed, support)
    yield state
    for _ in range(steps):
        state = one(fixed, state, support)
        yield state


def end(learner: IterativeLearner, runner: Runner, params: Params, support: Examples, steps: int) -> State:
    """The last of the states of `walk`, without keeping the others."""
    state: State = {}
    for state in walk(learner, runner, params, support, steps):  # noqa: B007
        pass
    return state


def finished(runner: Runner, finish: Callable[..., Score], params: Params, *rest: Any) -> Score:
    """What follows the constant steps of an inner loop, as one part: `finish(φ, *rest)` of every task.

    finish: for one task. rest: with a task axis, nested; constants.
    """
    moving = [name for name, value in params.items() if value.requires_grad]

    def one(params: Params, *rest: Any) -> tuple[Tensor, Params]:
        score = finish(params, *rest)
        shown = {"loss": score.loss, "metric": score.metric, **score.extra}
        return score.surrogate, detached(shown)

    def ended(params: Params, *rest: Any) -> tuple[Params, Params]:
        with torch.enable_grad():
            leaves = {name: params[name].detach().requires_grad_() for name in moving}
            surrogate, shown = runner.tasks(one)(params | leaves, *rest)
            total = surrogate.sum()
            grads = (
                torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
                if total.requires_grad
                else [None] * len(leaves)
            )
        return {name: grad for name, grad in zip(leaves, grads, strict=True) if grad is not None}, shown

    grads, shown = runner.part("ended" if moving else "ended, nothing moves", ended)(detached(params), *rest)
    loss, metric = shown.pop("loss"), shown.pop("metric")
    return Score(attached(loss.sum(), params, grads), loss, metric, shown)


def iterative(learner: Learner, params: Params, estimator: str) -> IterativeLearner:
    """The learner, if `estimator`, to which the inner loop is a constant, can train all of φ; a ConfigError if not."""
    stepwise = steps_of(learner, estimator)
    inside = stepwise.inside(params)
    if inside:
        name, remedy = next(iter(inside.items()))
        raise ConfigError(
            f"The estimator {estimator!r} treats the inner loop as a constant, so what acts only inside it would never "
            f"learn, and that is true of {name!r} or a part of it. Use 'unrolled', or {remedy}."
        )
    return stepwise


def steps_of(learner: Learner, estimator: str) -> IterativeLearner:
    """The learner, if it adapts in steps, as `estimator` needs; a ConfigError if not."""
    if learner.pretrains:
        raise ConfigError(
            f"The estimator {estimator!r} needs a learner that adapts to training tasks, and {type(learner).__name__} "
            "trains by ordinary classification, without any. Use 'unrolled', which is its plain gradient."
        )
    if learner.beyond:
        raise ConfigError(
            f"The loss of {type(learner).__name__}, as it is set, is more than that of the queries, and the estimator "
            f"{estimator!r} would leave the rest out. Use 'unrolled'."
        )
    if not isinstance(learner, IterativeLearner):
        raise ConfigError(
            f"The estimator {estimator!r} needs a learner that adapts in steps, and {type(learner).__name__} does "
            "not. Use 'unrolled', which is exact and costs such a learner nothing extra."
        )
    return learner
