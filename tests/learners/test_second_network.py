"""Learners with more than one network: names in φ, buffers, BatchNorm, what is frozen, storage, the inner loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_tasks import VECTORS, classes, episodes, generator, perceptron, random_params, requiring_grad
from torch import Tensor, nn
from two_networks import Relation, Scaled, relation

import quickstudy as qs
from quickstudy.entries import prefixed, with_prefix
from quickstudy.episode import Episode, Examples, Features, Params, State
from quickstudy.errors import ConfigError, ModelError
from quickstudy.inner import SGD, Partition
from quickstudy.learners import GradientLearner, Network
from quickstudy.learners.chance import chances
from quickstudy.testing import check_learner

EPISODE = episodes(VECTORS, tasks=None)


@dataclass(frozen=True, kw_only=True)
class ByHand(Relation):
    """The same, and its author puts the name before the entries himself."""

    def init(self, generator: torch.Generator) -> Params:
        return self.network.init(generator) | with_prefix("relation.", self.relation.init(generator))

    def compared(self, params: Params, pairs: Tensor) -> Tensor:
        return self.relation(prefixed("relation.", params), pairs)


def named(**options: Any) -> Relation:
    return relation(perceptron(VECTORS, 4), VECTORS, **options)


def by_hand() -> Relation:
    return ByHand(network=Network(perceptron(VECTORS, 4)), spec=VECTORS, relation=Network(Scaled()))


@pytest.mark.parametrize("learner", [named(), named(norm="batch"), named(norm="given"), by_hand()])
def test_a_learner_with_two_networks_conforms(learner: Relation) -> None:
    check_learner(learner, episodes(VECTORS))
    assert learner.transductive == (learner.relation.norm == "batch")


def test_entries_of_the_second_network_have_its_name_and_those_of_the_first_have_none() -> None:
    for learner in (named(), by_hand()):
        params = learner.init(generator())
        assert {n for n in params if n.startswith("relation.")} == {
            *(f"relation.network.{part}.{kind}" for part in ("first", "norm", "last") for kind in ("weight", "bias")),
            "relation.constant.k",
        }
        assert {n for n in params if learner.moves(n)} == {
            *(f"relation.network.{part}.{kind}" for part in ("first", "norm") for kind in ("weight", "bias")),
            *(f"network.{part}.{kind}" for part in (0, 2) for kind in ("weight", "bias")),
        }


@pytest.mark.parametrize("learner", [named(), by_hand()])
def test_statistics_of_the_second_network_are_those_of_what_enters_its_layers(learner: Relation) -> None:
    params = random_params(learner.init(generator()))
    found = learner.calibrate(params, [EPISODE])
    support, query = (learner.network(params, part.x) for part in EPISODE)
    means = torch.stack([support[EPISODE.support.y == c].mean(0) for c in range(3)])
    hidden = torch.stack(
        [F.linear(torch.cat([q, m]), params["relation.network.first.weight"]) for q in query for m in means]
    )
    hidden = hidden + params["relation.network.first.bias"]
    assert found.keys() - params.keys() == {
        "relation.statistics.network.norm.mean",
        "relation.statistics.network.norm.variance",
    }
    torch.testing.assert_close(found["relation.statistics.network.norm.mean"], hidden.mean(0))
    torch.testing.assert_close(found["relation.statistics.network.norm.variance"], hidden.var(0, correction=0))
    assert learner.calibrate(found, [EPISODE]).keys() == found.keys()


def test_a_network_without_a_name_whose_entries_would_be_the_first_one_s_is_refused() -> None:
    nameless = Relation(network=Network(perceptron(VECTORS, 4)), spec=VECTORS, relation=Network(Scaled()))
    with pytest.raises(ConfigError, match=r"Network\(module, name='relation'\)"):
        nameless.require_entries(nameless.init(generator()))
    with pytest.raises(AssertionError, match=r"φ has no entry 'relation\.network\.first\.weight'"):
        check_learner(nameless, episodes(VECTORS))
    twice = Relation(network=Network(Scaled(), name="one"), spec=VECTORS, relation=Network(Scaled(), name="one"))
    with pytest.raises(ConfigError, match="Two networks of Relation are called 'one'"):
        _ = twice.networks
    for name in ("network", "statistics", "a.b"):
        with pytest.raises(ModelError, match=f"A network cannot be called '{name}'"):
            Network(Scaled(), name=name)


@pytest.mark.parametrize("output", ["", "z"])
def test_networks_that_share_a_layer_are_refused(output: str, tmp_path: Any) -> None:
    class Named(nn.Sequential):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"z": super().forward(x)}

    def config(**options: Any) -> Any:
        learner = qs.registry.learners.part("relationnet")
        return qs.RunConfig(
            name="x", learner=learner, iterations=1, meta_batch=1, ways=2, device="cpu", compile="off", **options
        )

    layer = nn.Linear(6, 6)
    first = (Named if output else nn.Sequential)(nn.Linear(5, 3), nn.Linear(3, 6), layer)
    both = nn.ModuleDict(
        {"network": first, "relation": nn.Sequential(nn.Linear(12, 6), nn.ReLU(), layer, nn.Linear(6, 1))}
    )
    tasks = qs.tasks.linear(dimensions=5)
    with pytest.raises(
        ModelError, match=r"'network' and 'relation' share a layer: '2\.weight' of the one is '2\.weight'"
    ):
        qs.train(config(output=output), module=both, source=tasks, out=tmp_path / "a", quiet=True)
    shared = perceptron(VECTORS, 3)
    learner = Relation(network=Network(shared), spec=VECTORS, relation=Network(shared, name="relation"))
    with pytest.raises(ModelError, match="share a layer"):
        _ = learner.networks


def test_a_network_that_calibration_does_not_reach_is_refused() -> None:
    class Unreached(Relation):
        def predict(self, params: Params, state: State, x: Features) -> Tensor:
            return self.network(params, x)[:, :3]

    learner = named()
    unreached = Unreached(network=learner.network, spec=VECTORS, relation=learner.relation)
    with pytest.raises(ModelError, match=r"reached the BatchNorm layers of the network 'relation'"):
        unreached.calibrate(learner.init(generator()), [EPISODE])


@dataclass(frozen=True, kw_only=True)
class LearnedLoss(GradientLearner):
    """The inner loss is what a second network makes of logits and labels (in the spirit of Bechtle et al. 2021)."""

    judge_of: Network = field(default_factory=lambda: Network(perceptron(_PAIRS, 1), name="judge"))

    def init(self, generator: torch.Generator) -> Params:
        return super().init(generator) | self.judge_of.init(generator)

    def inner_loss(self, params: Params, task: Params, support: Examples, count: Tensor) -> Tensor:
        logits = self.network(params, support.x, task, count)
        seen = torch.cat([logits, self.spec.target.coded(support, logits.dtype)], 1)
        costs = self.judge_of(params, seen, task)[:, 0]
        return (costs * support.mask).sum() / support.mask.sum()

    def inside(self, params: Params) -> Mapping[str, str]:  # type: ignore[override]
        own = (name for name in params if name.startswith("judge."))
        return super().inside(params) | dict.fromkeys(own, "choose a loss that is not learned")


_PAIRS = classes((6,), 3)


def learned_loss(**options: Any) -> LearnedLoss:
    network = Network(perceptron(VECTORS, 3), inner_loop=True)
    return LearnedLoss(network=network, spec=VECTORS, rule=SGD(lr=0.3), steps=2, **options)


def test_a_learned_inner_loss_conforms_and_trains_by_the_exact_gradient() -> None:
    learner = learned_loss()
    check_learner(learner, episodes(VECTORS))
    params = requiring_grad(random_params(learner.init(generator())))

    def run(values: Params, x: Any, names: tuple[str, ...]) -> Tensor:
        a, b, c, d = (values[n] for n in names)
        return F.linear(torch.tanh(F.linear(x, a, b)), c, d)

    own, judge = (
        tuple(f"{p}network.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")) for p in ("", "judge.")
    )
    moved = {name: params[name] for name in own}
    coded = F.one_hot(EPISODE.support.y, 3).double()
    for _ in range(2):
        loss = run(params, torch.cat([run(moved, EPISODE.support.x, own), coded], 1), judge).mean()
        slopes = torch.autograd.grad(loss, list(moved.values()), create_graph=True)
        moved = {n: v - 0.3 * s for (n, v), s in zip(moved.items(), slopes, strict=True)}
    wanted = F.cross_entropy(run(moved, EPISODE.query.x, own), EPISODE.query.y)
    found = learner.loss(params, EPISODE)
    torch.testing.assert_close(found, wanted)
    names = (*own, *judge[:-1])  # its last bias is a constant of the loss
    one, other = (torch.autograd.grad(v, [params[n] for n in names], retain_graph=True) for v in (found, wanted))
    for name, mine, theirs in zip(names, one, other, strict=True):
        torch.testing.assert_close(mine, theirs, msg=name)
        assert mine.abs().max() > 0


def test_an_estimator_to_which_the_inner_loop_is_a_constant_refuses_a_learned_loss() -> None:
    engine = qs.Engine(learned_loss(), torch.device("cpu"), metagrad="first_order")
    with pytest.raises(ConfigError, match=r"that is true of 'judge\.network"):
        engine.gradients(learned_loss().init(generator()), episodes(VECTORS))


@pytest.mark.parametrize(
    ("patterns", "moved"),
    [
        (("*",), {"0.weight", "0.bias", "2.weight", "2.bias"}),
        (("!0.*",), {"2.weight", "2.bias"}),
        (("2.*", "judge.*"), {"2.weight", "2.bias", *(f"judge.{i}.{k}" for i in (0, 2) for k in ("weight", "bias"))}),
        (("judge.*", "!*.bias"), {"judge.0.weight", "judge.2.weight"}),
    ],
)
def test_the_inner_loop_moves_a_second_network_only_where_it_is_named(
    patterns: tuple[str, ...], moved: set[str]
) -> None:
    learner = learned_loss(partition=Partition(patterns))
    params = {n: v.double() for n, v in learner.init(generator()).items()}
    state = learner.adapt(params, EPISODE.support)
    assert {n.removeprefix("task.") for n in state if n.startswith("task.")} == moved
    by_name = {n if not n.startswith("judge.") else f"judge.network.{n[6:]}" for n in moved}
    assert set(learner.moved(state)) == {n if n.startswith("judge.") else f"network.{n}" for n in by_name}
    assert all(not torch.equal(value, params[name]) for name, value in learner.moved(state).items())


def test_buffers_move_in_the_inner_loop_only_where_they_are_named() -> None:
    for patterns, name in ((("!0.*",), None), (("!0.*", "*.context"), "context")):
        module = qs.models.WithContext(nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3)), 2).double()
        maml = qs.learners.maml(module, VECTORS, inner=patterns if name is None else ("context",))
        assert ("task.context" in maml.adapt(random_params(maml.init(generator())), EPISODE.support)) == bool(name)


def test_a_second_network_called_as_a_part_of_the_first_is_refused_in_an_inner_loop() -> None:
    module = nn.Sequential()
    module.add_module("judge", nn.Linear(5, 3))
    with pytest.raises(ConfigError, match=r"which has 'judge\.weight'"):
        LearnedLoss(network=Network(module, inner_loop=True), spec=VECTORS, rule=SGD(lr=0.3), steps=2)


def test_auto_takes_vmap_where_it_follows_both_networks_and_the_loop_where_it_does_not() -> None:
    class Branching(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (2 if bool(x.sum() > 0) else 1)

    for kind, mode in ((Scaled, "vmap"), (Branching, "loop")):
        second = Network(kind(), name="relation")
        learner = Relation(network=Network(perceptron(VECTORS, 4).float()), spec=VECTORS, relation=second)
        assert qs.Engine(learner, torch.device("cpu")).mode == mode


def test_an_episode_is_one_for_both_networks() -> None:
    """Padding changes nothing, in the statistics of the second network neither."""
    learner, (support, query) = named(norm="given"), EPISODE
    params = random_params(learner.init(generator()))
    padded = Examples(
        torch.cat([support.x, support.x[:2] + 1]),  # type: ignore[list-item]
        torch.cat([support.y, support.y[:2]]),
        torch.cat([support.mask, torch.zeros(2, dtype=torch.bool)]),
    )
    torch.testing.assert_close(learner.loss(params, Episode(padded, query)), learner.loss(params, EPISODE))


class Drawing(nn.Module):
    """Scores that dropout disturbs in training, by a layer whose spectral norm is held at 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 16))
        self.last, self.drop = nn.Linear(16, 1), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.drop(torch.tanh(self.first(x))))
        return scores


def test_a_second_network_draws_by_the_key_of_the_task_and_otherwise_than_the_first() -> None:
    first = nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.5), nn.Linear(16, 4)).double()
    second = Network(Drawing().double(), name="relation")
    learner = Relation(network=Network(first), spec=VECTORS, relation=second)
    params, batch, keys = random_params(learner.init(generator())), episodes(VECTORS), torch.arange(3)
    both = [qs.Engine(learner, torch.device("cpu"), mode).gradients(params, batch, keys) for mode in ("vmap", "loop")]
    again = qs.Engine(learner, torch.device("cpu"), "loop").gradients(params, batch, keys + 1)
    torch.testing.assert_close(both[0], both[1])
    name = "relation.network.last.weight"
    assert not torch.allclose(both[1][0][name], again[0][name])
    assert not learner.plain
    twin = Network(first, name="relation")
    x = torch.ones(4, 5, dtype=torch.float64)
    phi = Network(first).init(generator())
    with chances(torch.tensor(7)):
        here, there = learner.network(phi, x), twin(with_prefix("relation.", phi), x)
    assert not torch.allclose(here, there)
    check_learner(learner, batch)


def test_buffers_of_a_second_network_that_a_call_changes_follow_once_a_step() -> None:
    learner = Relation(
        network=Network(perceptron(VECTORS, 4)), spec=VECTORS, relation=Network(Drawing().double(), name="relation")
    )
    params = {n: v.double() for n, v in learner.init(generator()).items()}
    assert not learner.still
    found = learner.refreshed(params, EPISODE, torch.tensor(3))
    u, v = (f"relation.constant.first.parametrizations.weight.0.{name}" for name in ("_u", "_v"))
    assert found.keys() == {u, v}
    weight = params["relation.network.first.parametrizations.weight.original"]
    left = F.normalize(weight @ params[v], dim=0)
    torch.testing.assert_close(found[u], left)
    torch.testing.assert_close(found[v], F.normalize(weight.T @ left, dim=0))
    assert torch.equal(params[u], learner.init(generator())[u].double())
    assert named().still == named().plain
