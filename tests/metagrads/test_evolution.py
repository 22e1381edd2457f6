"""Evolution strategies: on quadratic losses their mean is the gradient, which the standard error of the mean tests."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from quadratics import EYE, LINE, RATE, Batch, Problem, estimate, linear
from small_tasks import VALUES, VECTORS, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy import rng
from quickstudy.engine import Engine
from quickstudy.episode import Episode, Params, map_episode
from quickstudy.errors import ConfigError
from quickstudy.learners import Learner, imaml, maml, metasgd, protonet
from quickstudy.metagrads import Runner, metagrad

CPU = torch.device("cpu")
STEPS, STRENGTH = 6, 0.5
COUNT = 20_000


def keyed(seed: int) -> Runner:
    runner = Runner()
    runner.keys = rng.key(seed)
    return runner


def estimates(learner: Learner, params: Params, episode: Episode, **options: Any) -> Tensor:
    """(n, 4): the estimates of one episode's gradient in the weights of a line from n keys, one pair each."""
    runner = Batch(rng.fold(rng.key(1), torch.arange(COUNT)))
    many = map_episode(lambda t: t.expand(COUNT, *t.shape), episode)
    summed = estimate("evolution", learner, params, many, runner, pairs=1, **options)["network.weight"]
    each: Tensor = runner.each[0]["network.weight"][:, 0]
    torch.testing.assert_close(summed[0], each.sum(0))
    return each


def errors(each: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """How far the mean is from what is wanted, in standard errors of each element; and these, relative to it."""
    error = each.std(0) / len(each) ** 0.5
    return (each.mean(0) - wanted).abs() / error, error.norm() / wanted.norm()


def test_the_mean_of_es_is_the_gradient_of_a_quadratic_loss(problem: Problem) -> None:
    learner, params = maml(linear(), LINE, lr=RATE, steps=3), {"network.weight": problem.w[None]}
    exact = estimate("unrolled", learner, params, problem.episode)["network.weight"][0]
    away, relative = errors(estimates(learner, params, problem.episode, sigma=0.3), exact)
    assert float(away.max()) < 3.5 and float(relative) < 0.03
    first = estimate("first_order", learner, params, problem.episode)["network.weight"][0]
    assert float(errors(estimates(learner, params, problem.episode, sigma=0.3), first)[0].max()) > 10


def sum_of_segments(problem: Problem, segment: int, persistent: bool) -> Tensor:
    """The gradient in w of the sum of the query losses at the segments' ends; without what passes between segments.

    ψ ← ψ − α (Hψ − c + λ(ψ − w)) has the Jacobian J ← (I − α(H + λ)) J + αλ I, from J_0 = I.
    """
    _, w, (h, c), (query_h, query_c) = problem
    end, jacobian, total = w, EYE, torch.zeros_like(w)
    for k in range(1, STEPS + 1):
        end = end - RATE / 2 * (h @ end - c + STRENGTH * (end - w))
        jacobian = (EYE - RATE / 2 * (h + STRENGTH * EYE)) @ jacobian + RATE / 2 * STRENGTH * EYE
        if k % segment == 0:
            total = total + jacobian.T @ (query_h @ end - query_c)
            jacobian = jacobian if persistent else 0 * jacobian
    return total


def test_the_mean_of_pes_is_the_gradient_of_the_sum_of_segment_losses_where_truncation_is_biased(
    problem: Problem,
) -> None:
    learner = imaml(linear(), LINE, lr=RATE / 2, steps=STEPS, strength=STRENGTH)
    params = {"network.weight": problem.w[None]}
    exact, truncated = (sum_of_segments(problem, 2, persistent) for persistent in (True, False))
    summed = sum(
        estimate("unrolled", learner.with_steps(k), params, problem.episode)["network.weight"][0] for k in (2, 4, 6)
    )
    torch.testing.assert_close(exact, summed)
    each = estimates(learner, params, problem.episode, sigma=0.3, method="pes", segment=2)
    away, relative = errors(each, exact)
    assert float(away.max()) < 3.5 and float(relative) < 0.05
    assert float(errors(each, truncated)[0].max()) > 10


def test_a_single_segment_makes_pes_es_and_a_last_short_segment_counts() -> None:
    learner = maml(perceptron(VALUES, 2), VALUES, lr=0.1, steps=3)
    params, episode = random_params(learner.init(generator())), episodes(VALUES, tasks=None)
    plain = estimate("evolution", learner, params, episode, keyed(0))
    for segment, same in ((3, True), (5, True), (2, False)):
        found = estimate("evolution", learner, params, episode, keyed(0), method="pes", segment=segment)
        assert all(torch.equal(found[n], g) == same for n, g in plain.items())
    key = keyed(0).keys
    assert key is not None
    noise = {
        i: [rng.normal(rng.fold(rng.fold(rng.fold(key, 0), s), i), tuple(p.shape)).double() for s in range(2)]
        for i, p in enumerate(params.values())
    }
    sigma, ends = 0.01, []
    for sign in (1, -1):
        points = [{n: p + sign * sigma * noise[i][s] for i, (n, p) in enumerate(params.items())} for s in range(2)]
        state = learner.with_steps(2).adapt(points[0], episode.support)
        last = learner.step(points[1], state, episode.support)
        ends.append(
            [learner.judge(points[0], state, episode.query)[0], learner.judge(points[1], last, episode.query)[0]]
        )
    wanted = (
        (noise[0][0] * (ends[0][0] - ends[1][0]) + (noise[0][0] + noise[0][1]) * (ends[0][1] - ends[1][1])) / 2 / sigma
    )
    found = estimate("evolution", learner, params, episode, keyed(0), method="pes", segment=2, pairs=1)
    torch.testing.assert_close(found[next(iter(params))], wanted)


@pytest.mark.parametrize("options", [{}, {"method": "pes", "segment": 1}])
def test_the_keys_alone_decide_and_all_tasks_at_once_give_what_they_give_one_by_one(options: dict[str, Any]) -> None:
    learner, batch = metasgd(perceptron(VECTORS, 3), VECTORS, lr=0.1, steps=2), episodes(VECTORS)
    params, keys = random_params(learner.init(generator())), rng.fold(rng.key(3), torch.arange(3))
    found = {}
    for mode, drawn in (("vmap", keys), ("loop", keys), ("other", keys + 1)):
        vectorize: Any = "vmap" if mode == "other" else mode
        engine = Engine(learner, CPU, vectorize, metagrad="evolution", metagrad_options={"pairs": 2, **options})
        found[mode] = engine.gradients(params, batch, drawn)
    for name, grad in found["vmap"][0].items():
        torch.testing.assert_close(found["loop"][0][name], grad)
        assert not torch.allclose(found["other"][0][name], grad)
    losses = torch.stack([learner.loss(params, map_episode(lambda t: t[i], batch)) for i in range(3)])  # noqa: B023
    torch.testing.assert_close(found["vmap"][1], losses)


def test_it_needs_no_gradient_of_the_loss(problem: Problem) -> None:
    class Opaque(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    learner, params = maml(Opaque(4, 1, bias=False).double(), LINE, steps=0), {"network.weight": problem.w[None]}
    query_h, query_c = problem.query
    away, relative = errors(estimates(learner, params, problem.episode, sigma=0.3), query_h @ problem.w - query_c)
    assert float(away.max()) < 3.5 and float(relative) < 0.03


def test_es_serves_learners_without_steps_and_pes_refuses_them() -> None:
    learner = protonet(perceptron(VECTORS, 4), VECTORS, learn_temperature=True)
    params, episode = random_params(learner.init(generator())), episodes(VECTORS, tasks=None)
    exact = estimate("unrolled", learner, params, episode)
    found = estimate("evolution", learner, params, episode, keyed(0), pairs=500, sigma=0.001)
    along = sum(float((found[n] * g).sum()) for n, g in exact.items()) / sum(
        float(g.square().sum()) for g in exact.values()
    )
    assert abs(along - 1) < 0.15
    with pytest.raises(ConfigError, match="'evolution' needs a learner that adapts in steps"):
        estimate("evolution", learner, params, episode, keyed(0), method="pes")


def test_missing_keys_and_options_without_sense_are_refused() -> None:
    learner = maml(perceptron(VECTORS, 3), VECTORS)
    params, episode = random_params(learner.init(generator())), episodes(VECTORS, tasks=None)
    with pytest.raises(ConfigError, match=r"was given no keys\. Pass a key for each task to Engine\.gradients"):
        estimate("evolution", learner, params, episode)
    for options, complaint in (
        ({"sigma": 0.0}, r"above 0: 0\.0"),
        ({"pairs": 0}, "at least 1 for its option 'pairs', found 0"),
        ({"segment": 0}, "at least 1 for its option 'segment', found 0"),
        ({"method": "cma"}, "no method of evolution strategies called 'cma'.*'es', |es, pes"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            metagrad("evolution", **options)  # type: ignore[arg-type]
