"""The exact meta-gradient in memory that does not grow with the graph of the inner loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quickstudy.episode import Episode, Examples, Params, State
from quickstudy.errors import unknown_name
from quickstudy.learners.base import Learner
from quickstudy.learners.descent import ORDERS, Order, second_derivatives
from quickstudy.metagrads.base import ONE_TASK, Metagrad, Runner, Score, attached, detached, steps_of, walk


@dataclass(frozen=True)
class Recompute(Metagrad):
    """dL/dφ, equal to `unrolled`; only ψ_0 … ψ_K are kept, and each step is computed again on the way back.

    order: how the second derivatives inside a step are taken. 'reverse' differentiates the gradient's graph backwards;
    'forward' pushes a tangent through the gradient, which needs no graph of it (mixed-mode differentiation, Kemaev et
    al. 2025). Both give the same numbers; 'auto' leaves the choice to the engine, which measures; else 'reverse'.
    """

    exact = stepwise = True
    order: Order | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if self.order not in (*ORDERS, "auto"):
            raise unknown_name("order of differentiation", self.order, (*ORDERS, "auto"))

    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        learner, (support, query) = steps_of(learner, "recompute"), episode
        order: Order = "reverse" if self.order == "auto" else self.order
        moving = [name for name, value in params.items() if value.requires_grad]
        fixed = detached(params)
        start, step = runner.tasks(learner.start), runner.tasks(learner.step)
        states = list(walk(learner, runner, params, support, learner.steps))

        def judge(params: Params, state: State, query: Examples) -> dict[str, Tensor]:
            loss, metric = learner.judge(params, state, query)
            return {"loss": loss, "metric": metric.detach()}

        def judged(params: Params, state: State, query: Examples) -> tuple[State, Params, State]:
            return pullback(runner.tasks(judge), moving, params, state, query, {"loss": None})

        def back(params: Params, state: State, support: Examples, above: State) -> tuple[Params, State]:
            with second_derivatives(order):
                return pullback(step, moving, params, state, support, above)[1:]

        def begun(params: Params, support: Examples, above: State) -> Params:
            def from_nothing(params: Params, nothing: State, support: Examples) -> State:
                state: State = start(params, support)
                return state

            return pullback(from_nothing, moving, params, {}, support, above)[1]

        back = runner.part("back", back)
        scores, grads, above = runner.part("judged", judged)(fixed, states.pop(), query)
        while states:
            more, above = back(fixed, states.pop(), support, above)
            _add(grads, more)
        _add(grads, runner.part("begun", begun)(fixed, support, above))
        return Score(attached(scores["loss"].sum(), params, grads), scores["loss"], scores["metric"])


def _add(grads: Params, more: Params) -> None:
    for name, grad in more.items():
        grads[name] = grads[name] + grad if name in grads else grad


def pullback(
    function: Callable[[Params, State, Examples], State],
    moving: list[str],
    params: Params,
    state: State,
    examples: Examples,
    above: Mapping[str, Tensor | None],
) -> tuple[State, Params, State]:
    """The vector-Jacobian product of one function of (φ, ψ, examples) with results by name.

    above: cotangents of results; None stands for ones. Returns the results, the cotangents of the entries `moving` of φ
    that it depends on, and those of all floating-point entries of ψ.
    """
    with torch.enable_grad():
        leaves = {name: params[name].detach().requires_grad_() for name in moving}
        inputs = {name: value.detach().requires_grad_() for name, value in state.items() if value.is_floating_point()}
        after = function(params | leaves, state | inputs, examples)
        names = [name for name in above if after[name].requires_grad]
        cotangents = [torch.ones_like(after[n]) if (one := above[n]) is None else one for n in names]
        sources = [*leaves.values(), *inputs.values()]
        slopes = (
            torch.autograd.grad([after[n] for n in names], sources, cotangents, allow_unused=True)
            if names and sources
            else [None] * len(sources)
        )
    to_params = {n: g for n, g in zip(leaves, slopes, strict=False) if g is not None}
    to_state = {
        name: torch.zeros_like(value) if grad is None else grad
        for (name, value), grad in zip(inputs.items(), slopes[len(leaves) :], strict=True)
    }
    return detached(after), to_params, to_state
