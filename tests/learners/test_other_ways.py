"""Gradient learners on tasks of other ways than they were trained for: a head fitted to each task, then inner steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from quickstudy.engine import Engine
from quickstudy.episode import Episode, Examples, stack
from quickstudy.heads import Ridge
from quickstudy.learners import frozen
from quickstudy.learners.gradient import GradientLearner
from quickstudy.models import WithContext
from quickstudy.registry import formats, learners, targets
from quickstudy.spec import TaskSpec

SPEC = TaskSpec(formats.make("array", shape=(6,)), targets.make("classes", ways=3))
NAMES = [name for name in learners if learners.traits(name).head and not learners.traits(name).acts]


def network(ways: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, ways))


def built(name: str, **options: object) -> GradientLearner:
    module = network()
    if learners.traits(name).context:
        module = WithContext(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)), size=2)
    learner = learners[name](module, SPEC, **options)
    assert isinstance(learner, GradientLearner)
    return learner


def episode(ways: int, seed: int = 0, shots: int = 4) -> Episode:
    """Clusters in float64, every class in both parts."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(ways, 6, generator=generator, dtype=torch.float64)
    y = torch.arange(ways).repeat(shots)

    def part() -> Examples:
        noise = torch.randn(len(y), 6, generator=generator, dtype=torch.float64)
        return Examples(centres[y] + noise, y, torch.ones(len(y), dtype=torch.bool))

    return Episode(part(), part())


def start(learner: GradientLearner) -> dict[str, Tensor]:
    params = learner.init(torch.Generator().manual_seed(1))
    return {n: v.double() if v.is_floating_point() else v for n, v in params.items()}


def said(learner: GradientLearner, params: dict[str, Tensor], task: Episode) -> Tensor:
    return learner.predict(params, learner.adapt(params, task.support), task.query.x)


@pytest.mark.parametrize("name", NAMES)
def test_as_trained_nothing_changes_to_the_bit(name: str) -> None:
    learner = built(name)
    params, task = start(learner), episode(3)
    same, back = learner.at(SPEC), learner.at(SPEC.at(5)).at(SPEC)
    if name != "memory":
        assert not same.fresh_head and not back.fresh_head and learner.at(SPEC.at(5)).fresh_head
    assert torch.equal(said(same, params, task), said(learner, params, task))
    assert torch.equal(said(back, params, task), said(learner, params, task))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ways", [2, 4, 7])
def test_other_ways_are_far_above_chance(name: str, ways: int) -> None:
    learner = built(name).at(SPEC.at(ways))
    params = start(built(name))
    right = [float(learner.score(params, episode(ways, seed))[1]) for seed in range(5)]
    assert sum(right) / 5 > 0.5 + 0.5 / ways


@pytest.mark.parametrize("name", ["maml", "anil"])
def test_before_the_first_step_the_head_is_a_ridge_regression(name: str) -> None:
    learner = built(name, steps=0).at(SPEC.at(4))
    params, task = start(built(name)), episode(4)
    one, other = params["network.0.weight"], params["network.0.bias"]
    z = torch.relu(task.support.x @ one.T + other)
    weight = (0.1 * z.square().sum(1).mean()).log()
    head = Ridge().fit({"log_regularisation": weight}, z, task.support, SPEC.at(4))["weights"]
    asked = torch.relu(task.query.x @ one.T + other)
    assert torch.allclose(said(learner, params, task), asked @ head[:-1] + head[-1], atol=1e-8)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("maml", {"steps": 3, "lr": 0.05}),
        ("maml", {"steps": 3, "rule": "adam"}),
        ("maml", {"steps": 3, "rule": "meta-lstm"}),
        ("metasgd", {"steps": 2}),
        ("imaml", {"steps": 4}),
        ("anil", {"steps": 3}),
        ("cavia", {"steps": 2}),
    ],
)
def test_relabelling_permutes_and_the_support_moves_the_answer(name: str, options: dict[str, object]) -> None:
    learner = built(name, **options).at(SPEC.at(4))
    params, (support, query) = start(built(name, **options)), episode(4)
    renamed = Episode(support._replace(y=(support.y + 1) % 4), query)
    plain = said(learner, params, Episode(support, query))
    assert learner.symmetric and torch.allclose(plain.roll(1, 1), said(learner, params, renamed), atol=1e-8)
    still = said(learner.with_steps(0), params, Episode(support, query))
    assert plain.shape == (16, 4) and not torch.allclose(plain, still, atol=1e-6)
    state = learner.adapt(params, support)
    assert torch.equal(frozen(learner, params, state)(query.x), learner.predict(params, state, query.x))


def test_many_tasks_at_once_are_as_one_after_another() -> None:
    learner, params = built("metasgd", steps=2).at(SPEC.at(4)), start(built("metasgd", steps=2))
    batch = stack([episode(4, seed) for seed in range(3)])
    vmap, loop = (Engine(learner, torch.device("cpu"), mode).predictions(params, batch) for mode in ("vmap", "loop"))
    assert torch.allclose(vmap, loop, atol=1e-9)


def test_rates_of_each_element_are_the_mean_over_classes_for_others() -> None:
    learner = built("metasgd", steps=1)
    params, task = start(learner), episode(4)
    rate = params["inner.lr.2.weight"] = torch.rand(3, 16, dtype=torch.float64)
    wide = learner.at(SPEC.at(4))
    before = wide.with_steps(0).adapt(params, task.support)["task.2.weight"]
    after = wide.adapt(params, task.support)["task.2.weight"]
    own = {n.removeprefix("task."): v for n, v in wide.with_steps(0).adapt(params, task.support).items() if n[0] == "t"}
    slope = torch.func.grad(lambda t: wide.inner_loss(params, t, task.support, torch.zeros(())))(own)["2.weight"]
    assert torch.allclose(after, before - rate.mean(0) * slope, atol=1e-9)


@pytest.mark.parametrize("shares", [(3, 1), (2, 2, 2), (1, 1, 1, 1, 1)])
def test_where_features_are_all_0_the_head_says_the_shares_of_the_classes(shares: tuple[int, ...]) -> None:
    """As of texts without a known word: nothing tells classes apart, and that is no error."""
    module = nn.Sequential(nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 4))
    spec = TaskSpec(SPEC.format, targets.make("classes", ways=4))
    other = TaskSpec(SPEC.format, targets.make("classes", ways=len(shares)))
    learner = learners["anil"](module, spec, steps=0).at(other)
    y = torch.arange(len(shares)).repeat_interleave(torch.tensor(shares))
    support = Examples(torch.zeros(len(y), 6), y, torch.ones(len(y), dtype=torch.bool))
    params = learner.init(torch.Generator().manual_seed(0))
    said = learner.predict(params, learner.adapt(params, support), torch.zeros(1, 6))[0]
    torch.testing.assert_close(said, torch.tensor(shares) / len(y), atol=0.02, rtol=0.0)
