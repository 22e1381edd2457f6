"""Every registered learner keeps its contract, with and without BatchNorm; broken learners are caught."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from small_tasks import IMAGES, VALUES, VECTORS, convolutional, episodes, generator, perceptron, random_params
from torch import Tensor, nn

from quickstudy.episode import Examples, Features, Params, State
from quickstudy.errors import ConfigError
from quickstudy.learners import EmbeddingLearner, GradientLearner, Learner, maml, protonet
from quickstudy.models import WithContext
from quickstudy.registry import formats, learners
from quickstudy.spec import TaskSpec
from quickstudy.testing import check_learner

READING = ("incontext", "axial", "cnp", "anp", "snail", "lstm", "mann")
REGRESSION = ("memory", "maml", "fomaml", "imaml", "anil", "metasgd", "cavia", "reptile", "r2d2", *READING)
EMBEDDING = 4


def build(name: str, spec: TaskSpec, module: nn.Module | None = None, **options: Any) -> Learner:
    """The learner with a network that fits it: with a head, a context or neither."""
    traits = learners.traits(name)
    outputs = spec.outputs if traits.head else EMBEDDING
    if module is None and traits.context:
        wide = replace(spec, format=formats.make("array", shape=(spec.input_shape[0] + 2,)))
        module = WithContext(perceptron(wide, outputs), 2).double()
    if traits.pretrains:
        options |= {"classes": 4}
    if name in ("finetune", "baseline++"):
        options = {"steps": 3} | options
    learner: Learner = learners[name](module or perceptron(spec, outputs), spec, **options)
    return learner


EVERY = [
    name for name in learners if not learners.traits(name).dense and not learners.traits(name).acts
]  # on others see test_dense


@pytest.mark.parametrize("name", EVERY)
def test_every_learner_conforms_on_vectors(name: str) -> None:
    check_learner(build(name, VECTORS), episodes(VECTORS))


@pytest.mark.parametrize("name", REGRESSION)
def test_every_learner_that_can_regress_conforms_on_values(name: str) -> None:
    check_learner(build(name, VALUES), episodes(VALUES))


@pytest.mark.parametrize("name", [n for n in EVERY if n not in REGRESSION])
def test_a_classifier_refuses_regression(name: str) -> None:
    with pytest.raises(ConfigError, match="needs classes, but the targets of these tasks are 2 numbers"):
        build(name, VALUES).init(generator())


def refused(name: str, norm: str) -> bool:
    """Whether a learner refuses BatchNorm of this kind: see test_refusals and metagrads/test_estimators."""
    head = learners.traits(name).head
    return (head and norm == "running") or (name in ("fomaml", "imaml", "reptile") and norm == "per_step")


@pytest.mark.parametrize(
    ("name", "norm"),
    [(n, k) for n in EVERY for k in ("running", "batch", "per_step") if n != "cavia" and not refused(n, k)],
)
def test_every_learner_conforms_with_batch_norm(name: str, norm: str) -> None:
    head = learners.traits(name).head
    learner = build(name, IMAGES, convolutional(3 if head else EMBEDDING), norm=norm)
    assert learner.transductive == (norm == "batch")
    check_learner(learner, episodes(IMAGES, tasks=2))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("maml", {"steps": 3, "rule": "adam", "lr": 0.05}),
        ("maml", {"steps": 3, "rule": "momentum", "learn_rates": True, "rates": "tensor"}),
        ("maml", {"steps": 0}),
        ("imaml", {"steps": 3, "rule": "adam", "strength": 0.5}),
        ("anil", {"head": "0.*", "steps": 2}),
        ("protonet", {"distance": "cosine", "temperature": 10.0, "learn_temperature": True}),
        ("finetune", {"tune": "all", "rule": "sgd", "lr": 0.1}),
        ("simpleshot", {"centre": False}),
        ("baseline++", {"tune": "all", "steps": 3, "rule": "sgd", "lr": 0.1}),
        ("rfs", {"regularisation": 0.1}),
        ("relationnet", {"pool": "sum", "width": 5}),
        ("relationnet", {"loss": "cross-entropy"}),
        ("feat", {"contrast": 0.0, "temperature": 1.0}),
        ("feat", {"contrast": 2.0, "contrast_temperature": 0.5, "dropout": 0.3}),
        ("meta-baseline", {"learn_temperature": False, "temperature": 3.0}),
        ("incontext", {"labels": "pointer", "layers": 2}),
        ("incontext", {"limit": 5, "layers": 1, "standardise": True}),
        ("incontext", {"hints": True, "layers": 1}),
        ("axial", {"hints": True, "layers": 1}),
        ("anp", {"standardise": True}),
        ("snail", {"length": 3, "limit": 4}),
        ("lstm", {"online": True, "width": 8}),
        ("mann", {"online": True, "width": 8, "slots": 4, "size": 3}),
    ],
)
def test_options_keep_the_contract(name: str, options: dict[str, Any]) -> None:
    check_learner(build(name, VECTORS, **options), episodes(VECTORS, tasks=2))


def test_fine_tuning_the_whole_network_conforms_with_statistics_of_every_kind() -> None:
    for norm in ("running", "per_step"):
        learner = build("finetune", IMAGES, convolutional(EMBEDDING), tune="all", norm=norm, steps=2)
        check_learner(learner, episodes(IMAGES, tasks=2))


def test_relabelling_the_classes_and_the_head_permutes_the_output_of_a_gradient_learner() -> None:
    learner, episode = maml(perceptron(VECTORS, 3), VECTORS, lr=0.1, steps=3), episodes(VECTORS, tasks=None)
    params = random_params(learner.init(generator()))
    support, order = episode.support, torch.tensor([2, 0, 1])
    rows = order.argsort()  # class c becomes class order[c], so row r of the new head is row order⁻¹[r] of the old one
    turned = params | {n: params[n][rows] for n in ("network.2.weight", "network.2.bias")}
    plain = learner.predict(params, learner.adapt(params, support), episode.query.x)
    state = learner.adapt(turned, support._replace(y=order[support.y]))
    torch.testing.assert_close(learner.predict(turned, state, episode.query.x), plain[:, rows])


@dataclass(frozen=True, kw_only=True)
class _Detached(EmbeddingLearner):
    def embed(self, params: Params, x: Features) -> Tensor:
        return super().embed(params, x).detach() + super().embed(params, x) * 0.5


@dataclass(frozen=True, kw_only=True)
class _Neighbourly(EmbeddingLearner):
    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        return super().predict(params, state, x).softmax(dim=0)


@dataclass(frozen=True, kw_only=True)
class _Unmasked(EmbeddingLearner):
    def adapt(self, params: Params, support: Examples) -> State:
        return super().adapt(params, support._replace(mask=torch.ones_like(support.mask)))


@dataclass(frozen=True, kw_only=True)
class _FirstWins(EmbeddingLearner):
    def adapt(self, params: Params, support: Examples) -> State:
        state = super().adapt(params, support)
        return state | {"prototypes": state["prototypes"] * torch.tensor([[2.0], [1.0], [1.0]], dtype=torch.float64)}


@dataclass(frozen=True, kw_only=True)
class _Impatient(GradientLearner):
    def adapt(self, params: Params, support: Examples) -> State:
        return self.step(params, self.start(params, support), support)


@dataclass(frozen=True, kw_only=True)
class _Seedless(EmbeddingLearner):
    def init(self, generator: torch.Generator) -> Params:
        return super().init(torch.Generator().manual_seed(0))


@dataclass(frozen=True, kw_only=True)
class _Writes(EmbeddingLearner):
    def adapt(self, params: Params, support: Examples) -> State:
        support.x.mul_(1.0)  # type: ignore[union-attr]
        params["network.2.bias"].data.add_(1.0)
        return super().adapt(params, support)


@dataclass(frozen=True, kw_only=True)
class _Ordered(EmbeddingLearner):
    def adapt(self, params: Params, support: Examples) -> State:
        weights = torch.arange(1.0, 1.0 + len(support.y), dtype=torch.float64)[:, None]
        assert isinstance(support.x, Tensor)
        return super().adapt(params, support._replace(x=support.x * weights))


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (_Detached, "finite differences give"),
        (_Neighbourly, "depends on its neighbours"),
        (_Unmasked, "Padding in the support"),
        (_FirstWins, "Relabelling the classes"),
        (_Seedless, "ignores its generator"),
        (_Writes, "φ was changed in place|twice gives different|of vmap and of a loop"),
        (_Ordered, "Shuffling the support"),
    ],
)
def test_a_broken_embedding_learner_is_caught(broken: type[EmbeddingLearner], complaint: str) -> None:
    sound = protonet(perceptron(VECTORS, EMBEDDING), VECTORS)
    with pytest.raises(AssertionError, match=complaint):
        check_learner(broken(network=sound.network, spec=VECTORS, head=sound.head), episodes(VECTORS))


def test_a_learner_whose_adapt_is_not_its_steps_is_caught() -> None:
    sound = maml(perceptron(VECTORS, 3), VECTORS, steps=2)
    broken = _Impatient(network=sound.network, spec=VECTORS, rule=sound.rule, steps=2)
    with pytest.raises(AssertionError, match="`adapt` with 0 steps is not"):
        check_learner(broken, episodes(VECTORS))
