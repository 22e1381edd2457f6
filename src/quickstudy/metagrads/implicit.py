"""The meta-gradient at a minimum of the inner problem, whatever path led there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from quickstudy.episode import Episode, Params, State
from quickstudy.errors import ConfigError
from quickstudy.learners.base import Learner
from quickstudy.learners.iterative import IterativeLearner
from quickstudy.metagrads.base import ONE_TASK, Metagrad, Runner, Score, detached, end, finished, iterative


@dataclass(frozen=True)
class Implicit(Metagrad):
    """dL/dφ by the implicit function theorem, without a look at the inner steps (iMAML, Rajeswaran et al. 2019).

    With G(ψ, φ) the inner loss and its proximal term, ∂G/∂ψ = 0 at the end of the inner loop gives

        dL/dφ = ∂L/∂φ − (∂²G/∂φ∂ψ) u        (∂²G/∂ψ²) u = ∂L/∂ψ

    For what the inner loop moves that is (I + H/λ)⁻¹ ∂L/∂ψ, with H the Hessian of the support loss, as in the paper;
    the rest of φ gets its gradient too. u comes from conjugate gradients, which stop where G curves downwards.

    iterations: of conjugate gradients; each costs a Hessian-vector product, and so does the residual. Reports
    'cg_residual', the norm of what is left of the linear system relative to ∂L/∂ψ, and 'inner_gradient', the norm of
    ∂G/∂ψ: both are 0 where the estimate is exact.
    """

    stepwise = True
    reports = ("cg_residual", "inner_gradient")
    iterations: int = 5

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ConfigError(
                f"The estimator 'implicit' needs at least one iteration of conjugate gradients, found "
                f"{self.iterations}. About 5 are usual."
            )

    def __call__(self, learner: Learner, params: Params, episode: Episode, runner: Runner = ONE_TASK) -> Score:
        stepwise = iterative(learner, params, "implicit")
        state = end(stepwise, runner, params, episode.support, stepwise.steps)
        return finished(runner, partial(self._finish, stepwise), params, state, episode)

    def _finish(self, learner: IterativeLearner, params: Params, state: State, episode: Episode) -> Score:
        (support, query), fixed = episode, detached(params)
        floats = {name: value for name, value in state.items() if value.is_floating_point()}

        def objective(floats: Params, params: Params) -> Tensor:
            value = learner.objective(params, state | floats, support)
            if value is None:
                raise ConfigError(
                    "The estimator 'implicit' needs an inner loss with a term that holds ψ near φ, and this "
                    f"{type(learner).__name__} has none. Use the learner 'imaml' with a strength above 0 (from Python: "
                    "GradientLearner(proximal=…)), or the estimator 'unrolled'."
                )
            return value

        def slope(params: Params, floats: Params) -> Params:
            grads: Params = torch.func.grad(objective)(floats, params)
            return grads

        target = torch.func.grad(lambda floats: learner.judge(fixed, state | floats, query)[0])(floats)
        pull: Callable[[Params], tuple[Params]] = torch.func.vjp(partial(slope, fixed), floats)[1]
        solution, residual = conjugate_gradients(lambda v: pull(v)[0], target, self.iterations)
        inner = slope(params, floats)
        loss, metric = learner.judge(params, state, query)
        extra = {"cg_residual": residual, "inner_gradient": _dot(inner, inner).sqrt()}
        return Score(loss - _dot(inner, solution), loss, metric, extra)


def _dot(one: Params, other: Params) -> Tensor:
    return torch.stack([(value * other[name]).sum() for name, value in one.items()]).sum()


def conjugate_gradients(product: Callable[[Params], Params], target: Params, iterations: int) -> tuple[Params, Tensor]:
    """x with A x = target for a symmetric A, and ‖target − A x‖ / ‖target‖ (Hestenes & Stiefel 1952).

    product: v ↦ A v. It starts from x = 0, and ends early at a direction along which A is not positive.
    """
    solution = {name: torch.zeros_like(value) for name, value in target.items()}
    residual = direction = target
    squared = _dot(target, target)
    for _ in range(iterations):
        curved = product(direction)
        curvature = _dot(direction, curved)
        goes_on = curvature > 0
        step = torch.where(goes_on, squared / torch.where(goes_on, curvature, 1.0), 0.0)
        solution = {name: value + step * direction[name] for name, value in solution.items()}
        residual = {name: value - step * curved[name] for name, value in residual.items()}
        before, squared = squared, _dot(residual, residual)
        share = squared / torch.where(goes_on, before, 1.0)
        direction = {n: torch.where(goes_on, residual[n] + share * d, d) for n, d in direction.items()}
    size, reached = _dot(target, target), product(solution)  # the running residual drifts from the true one
    missed = {name: value - reached[name] for name, value in target.items()}
    return solution, (_dot(missed, missed) / torch.where(size > 0, size, 1.0)).sqrt()
