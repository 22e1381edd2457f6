"""The implicit meta-gradient against closed forms, and against the exact one at the end of a long inner loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from quadratics import EYE, LINE, Batch, Problem, estimate, linear
from small_tasks import IMAGES, VECTORS, convolutional, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy.episode import task
from quickstudy.errors import ConfigError
from quickstudy.learners import GradientLearner, anil, cavia, imaml, maml, protonet
from quickstudy.metagrads import metagrad
from quickstudy.metagrads.implicit import conjugate_gradients
from quickstudy.models import WithContext

STRENGTH = 0.7


def test_the_inner_loop_ends_at_the_minimum_of_the_proximal_problem(problem: Problem) -> None:
    """H ψ − c + λ (ψ − w) = 0."""
    episode, w, (h, c), _ = problem
    learner, params = imaml(linear(), LINE, lr=0.1, steps=400, strength=STRENGTH), {"network.weight": w[None]}
    end = learner.adapt(params, episode.support)["task.weight"][0]
    torch.testing.assert_close(end, torch.linalg.solve(h + STRENGTH * EYE, c + STRENGTH * w))


def test_on_linear_regression_it_is_its_closed_form(problem: Problem) -> None:
    """(I + H/λ)⁻¹ (H_q ψ − c_q); four conjugate gradients solve for four weights."""
    episode, w, (h, c), (query_h, query_c) = problem
    learner, params = imaml(linear(), LINE, lr=0.1, steps=400, strength=STRENGTH), {"network.weight": w[None]}
    end = torch.linalg.solve(h + STRENGTH * EYE, c + STRENGTH * w)
    wanted = torch.linalg.solve(EYE + h / STRENGTH, query_h @ end - query_c)
    torch.testing.assert_close(
        estimate("implicit", learner, params, episode, iterations=4)["network.weight"][0], wanted
    )
    extra = metagrad("implicit", iterations=4)(learner, params, episode).extra
    assert float(extra["cg_residual"]) < 1e-10 and float(extra["inner_gradient"]) < 1e-10


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_it_reports_how_far_both_of_its_loops_are_from_their_ends(problem: Problem, iterations: int) -> None:
    """‖g − (I + H/λ) v‖ / ‖g‖ for the estimate v, and ‖Hψ − c + λ(ψ − w)‖."""
    episode, w, (h, c), (query_h, query_c) = problem
    learner, params = imaml(linear(), LINE, lr=0.1, steps=3, strength=STRENGTH), {"network.weight": w[None]}
    end = learner.adapt(params, episode.support)["task.weight"][0]
    outer = query_h @ end - query_c
    found = estimate("implicit", learner, params, episode, iterations=iterations)["network.weight"][0]
    extra = metagrad("implicit", iterations=iterations)(learner, params, episode).extra
    left = outer - (EYE + h / STRENGTH) @ found
    torch.testing.assert_close(extra["cg_residual"], left.norm() / outer.norm())
    torch.testing.assert_close(extra["inner_gradient"], (h @ end - c + STRENGTH * (end - w)).norm())
    assert float(extra["cg_residual"]) > 1e-4


def test_in_a_batch_every_task_reports_its_own_residual() -> None:
    learner, batch = imaml(perceptron(VECTORS, 3), VECTORS, lr=0.1, steps=2), episodes(VECTORS)
    params = random_params(learner.init(generator()))
    together = metagrad("implicit")(learner, params, batch, Batch()).extra
    for index in range(3):
        alone = metagrad("implicit")(learner, params, task(batch, index)).extra
        assert set(alone) == set(together) == {"cg_residual", "inner_gradient"}
        for name, value in alone.items():
            torch.testing.assert_close(together[name][index], value)


CASES: dict[str, Callable[[], GradientLearner]] = {
    "all of the network": lambda: imaml(perceptron(VECTORS, 3), VECTORS, lr=0.3, strength=STRENGTH),
    "the head": lambda: replace(anil(perceptron(VECTORS, 3), VECTORS, lr=0.3), proximal=STRENGTH),
    "a context": lambda: replace(
        cavia(WithContext(nn.Linear(7, 3), 2).double(), VECTORS, lr=0.3), proximal=STRENGTH
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_at_the_minimum_it_is_the_exact_gradient_whatever_the_inner_loop_moves(case: str) -> None:
    learner = CASES[case]().with_steps(250)
    params, episode = random_params(learner.init(generator())), episodes(VECTORS, tasks=None)
    assert float(metagrad("implicit", iterations=60)(learner, params, episode).extra["inner_gradient"]) < 1e-6
    exact, found = (
        estimate(n, learner, params, episode, **o) for n, o in (("unrolled", {}), ("implicit", {"iterations": 60}))
    )
    for name, grad in exact.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-5, atol=1e-6)


def test_the_path_to_the_minimum_does_not_matter() -> None:
    params, found = {}, []
    for rule, lr in (("sgd", 0.3), ("momentum", 0.1), ("adam", 0.03)):
        learner = imaml(perceptron(VECTORS, 3), VECTORS, lr=lr, steps=300, strength=STRENGTH, rule=rule)  # type: ignore[arg-type]
        params = params or random_params(learner.init(generator()))
        found.append(estimate("implicit", learner, params, episodes(VECTORS, tasks=None))["network.0.weight"])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-6)


def test_inner_loops_without_a_minimum_near_phi_are_refused() -> None:
    episode = episodes(VECTORS, tasks=None)
    free = maml(perceptron(VECTORS, 3), VECTORS)
    for learner in (free, imaml(perceptron(VECTORS, 3), VECTORS, strength=0.0)):
        with pytest.raises(ConfigError, match="this GradientLearner has none.*'imaml' with a strength above 0"):
            estimate("implicit", learner, random_params(learner.init(generator())), episode)
    with pytest.raises(ConfigError, match=r"cannot be negative, found -1\.0"):
        imaml(perceptron(VECTORS, 3), VECTORS, strength=-1.0)
    embedding = protonet(perceptron(VECTORS, 4), VECTORS)
    with pytest.raises(ConfigError, match="'implicit' needs a learner that adapts in steps"):
        estimate("implicit", embedding, random_params(embedding.init(generator())), episode)
    with pytest.raises(ConfigError, match="at least one iteration of conjugate gradients, found 0"):
        metagrad("implicit", iterations=0)


def test_learned_rates_and_statistics_of_every_step_are_refused_since_the_end_does_not_depend_on_them() -> None:
    learner = replace(imaml(perceptron(VECTORS, 3), VECTORS), learn_rates=True)
    with pytest.raises(ConfigError, match="never learn, and that is true of 'inner.lr'.*keep the inner rates fixed"):
        estimate("implicit", learner, random_params(learner.init(generator())), episodes(VECTORS, tasks=None))
    slots = imaml(convolutional(3), IMAGES, norm="per_step")
    with pytest.raises(ConfigError, match=r"never learn, and that is true of 'network\.1\.weight'"):
        estimate("implicit", slots, random_params(slots.init(generator())), episodes(IMAGES, tasks=None))


def test_conjugate_gradients_solve_and_stop_where_the_matrix_is_not_positive() -> None:
    root = torch.randn(5, 5, dtype=torch.float64, generator=generator())
    matrix, target = root @ root.T + torch.eye(5, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64)

    def solve(matrix: Tensor, target: Tensor, iterations: int = 9) -> tuple[Tensor, Tensor]:
        found, residual = conjugate_gradients(lambda v: {"x": matrix @ v["x"]}, {"x": target}, iterations)
        return found["x"], residual

    torch.testing.assert_close(solve(matrix, target)[0], torch.linalg.solve(matrix, target))
    nothing, residual = solve(matrix, 0 * target)
    assert (nothing == 0).all() and float(residual) == 0
    indefinite = torch.diag(torch.tensor([2.0, 1.0, -0.5], dtype=torch.float64))
    target = torch.full((3,), 0.1, dtype=torch.float64)
    found, residual = solve(indefinite, target, 50)
    torch.testing.assert_close(found, 1.2 * target, msg="the step to ‖t‖² / tᵀAt t, and none after it")
    torch.testing.assert_close(residual, (target - indefinite @ found).norm() / target.norm())
    found, residual = solve(-matrix, target.repeat(2)[:5])
    assert (found == 0).all() and float(residual) == 1
