"""A frozen task answers as `predict` does, to the last bit, whatever happens to φ, and can be exported."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small_tasks import (
    IMAGES,
    VALUES,
    VECTORS,
    classes,
    convolutional,
    episodes,
    generator,
    perceptron,
    random_params,
)
from test_conformance import EMBEDDING, REGRESSION, build
from torch import Tensor, nn

from quickstudy.episode import Features, Params, State
from quickstudy.learners import GradientLearner, Learner, Network, frozen, maml, protonet
from quickstudy.learners.frozen import Frozen
from quickstudy.models import FiLM
from quickstudy.registry import formats, learners, models
from quickstudy.spec import TaskSpec

EVERY = [name for name in learners if not learners.traits(name).dense and not learners.traits(name).acts]
CASES = [(name, VECTORS) for name in EVERY] + [(name, VALUES) for name in REGRESSION]


def adapted(learner: Learner, spec: TaskSpec, seed: int = 0) -> tuple[Params, State, Tensor]:
    """Calibrated φ, ψ of one task, and inputs."""
    params = learner.calibrate(random_params(learner.init(generator()), seed), [episodes(spec, None, seed=9)])
    task = episodes(spec, tasks=None, seed=seed)
    assert isinstance(task.query.x, Tensor)
    with torch.no_grad():
        return params, learner.adapt(params, task.support), task.query.x


def never_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("weights are swapped into a module at a call")

    monkeypatch.setattr(torch.func, "functional_call", refuse)


@pytest.mark.parametrize(("name", "spec"), CASES, ids=lambda case: getattr(case, "kind", case))
def test_a_frozen_task_answers_as_predict_does(name: str, spec: TaskSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = build(name, spec).evaluated()
    params, state, x = adapted(learner, spec)
    model, inputs = frozen(learner, params, state), (x, x[:2])
    right = [learner.predict(params, state, one) for one in inputs]
    for value in (*params.values(), *state.values()):
        value.detach().zero_()  # as a later step of the run might
    never_swaps(monkeypatch)
    assert all(torch.equal(model(one), wanted) for one, wanted in zip(inputs, right, strict=True))
    assert not any(tensor.requires_grad for tensor in [*model.parameters(), *model.buffers()])


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        (name, norm)
        for name in ("maml", "anil", "finetune", "protonet", "simpleshot")
        for norm in ("running", "batch", "per_step")
        if norm != "running" or not learners.traits(name).head  # refused, see test_refusals
    ],
)
def test_batch_norm_of_every_kind_is_frozen_as_it_is(name: str, norm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    head = learners.traits(name).head
    learner = build(name, IMAGES, convolutional(3 if head else EMBEDDING), norm=norm)
    params, state, x = adapted(learner, IMAGES)
    right, model = learner.predict(params, state, x), frozen(learner, params, state)
    never_swaps(monkeypatch)
    assert torch.equal(model(x), right)


def test_views_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = TaskSpec(formats.make("image", size=4, channels=1), IMAGES.target)
    learner = protonet(convolutional(4), pictures, views=True).evaluated()
    params, state, x = adapted(learner, IMAGES)
    right, model = learner.predict(params, state, x), frozen(learner, params, state)
    never_swaps(monkeypatch)
    assert torch.equal(model(x), right)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("maml", {"rule": "adam", "learn_rates": True, "rates": "element"}),
        ("finetune", {"tune": "all"}),
    ],
)
def test_what_prediction_does_not_need_is_not_kept(name: str, options: dict[str, Any]) -> None:
    learner = build(name, VECTORS, steps=1, **options)
    params, state, _ = adapted(learner, VECTORS)
    kept = {f"state.{entry}" for entry in state if not entry.startswith("rule.")}
    assert {*frozen(learner, params, state).state_dict()} == kept


def test_shared_weights_stay_shared() -> None:
    layer = nn.Linear(5, 5)
    learner = maml(nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(5, 3)).double(), VECTORS, steps=1)
    params, state, x = adapted(learner, VECTORS)
    assert torch.equal(frozen(learner, params, state)(x), learner.predict(params, state, x))


def test_gradients_of_the_input_flow() -> None:
    learner = maml(perceptron(VECTORS, 3), VECTORS, steps=1)
    params, state, x = adapted(learner, VECTORS)
    for answer in (frozen(learner, params, state), lambda x: learner.predict(params, state, x)):
        x = x.detach().requires_grad_()
        answer(x).sum().backward()
        assert x.grad is not None
        assert x.grad.abs().max() > 0


def test_two_threads_may_use_one_frozen_task() -> None:
    learner = protonet(convolutional(4), IMAGES)
    params, state, x = adapted(learner, IMAGES)
    model = frozen(learner, params, state)
    inputs = [x, x.flip(0) + 1]
    right = [model(one) for one in inputs]

    def wrong(index: int) -> int:
        return sum(not torch.equal(model(inputs[index]), right[index]) for _ in range(2000))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(wrong, range(2))) == [0, 0]


def test_moving_loading_and_copying_keep_what_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = maml(convolutional(3), IMAGES, steps=1, norm="per_step")
    (params, state, x), (other_params, other_state, _) = adapted(learner, IMAGES), adapted(learner, IMAGES, 1)
    model, other = frozen(learner, params, state), frozen(learner, other_params, other_state)
    right = learner.predict(other_params, other_state, x)
    assert not torch.equal(model(x), right)
    never_swaps(monkeypatch)
    model.load_state_dict(other.state_dict())
    for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), nn.Sequential(model)):
        assert torch.equal(same(x), right)
    assert model.to(torch.float32)(x.float()).dtype == torch.float32
    torch.testing.assert_close(model(x.float()).double(), right, rtol=1e-4, atol=1e-5)


@dataclass(frozen=True, kw_only=True)
class _Halving(GradientLearner):
    """A learner that makes the network's weights anew at each call."""

    def predict(self, params: Params, state: State, x: Features) -> Tensor:
        halves = {n: value / 2 for n, value in state.items() if value.is_floating_point()}
        return super().predict(params, state | halves, x)


def test_weights_that_are_made_during_the_call_are_right_and_not_kept() -> None:
    plain = maml(perceptron(VECTORS, 3), VECTORS, steps=1)
    learner = _Halving(network=plain.network, spec=VECTORS, rule=plain.rule, steps=1)
    params, state, x = adapted(learner, VECTORS)
    model = frozen(learner, params, state)
    assert all(torch.equal(model(x), learner.predict(params, state, x)) for _ in range(3))
    assert isinstance(model, Frozen)
    assert not model._bound.network._holding


SEQUENCES = classes((4, 3), 3)
NETWORKS: list[tuple[str, TaskSpec, nn.Module, dict[str, Any]]] = [
    ("protonet", IMAGES, convolutional(4), {}),
    ("maml", IMAGES, convolutional(3), {"norm": "per_step"}),
    ("maml", SEQUENCES, models["lstm"](SEQUENCES, width=3).double(), {}),
    ("cavia", VECTORS, FiLM(perceptron(VECTORS, 3), "1", 6, size=2).double(), {}),
]


@pytest.mark.parametrize(
    ("name", "spec", "module", "options"), [*((name, VECTORS, None, {}) for name in EVERY), *NETWORKS]
)
def test_every_learner_exports(name: str, spec: TaskSpec, module: nn.Module | None, options: dict[str, Any]) -> None:
    learner = build(name, spec, module, **options).evaluated()
    params, state, x = adapted(learner, spec)
    model = frozen(learner, params, state)
    right = model(x)
    batch = {0: torch.export.Dim("batch", min=2)}
    with torch.no_grad():
        exported = torch.export.export(model, (x,), dynamic_shapes=(batch,)).module()
        torch.testing.assert_close(exported(x), right)
        torch.testing.assert_close(exported(x[:3]), right[:3])
        assert torch.equal(model(x), right)


def test_a_network_is_no_part_of_the_module_tree() -> None:
    learner = protonet(perceptron(VECTORS, 3), VECTORS)
    params, state, x = adapted(learner, VECTORS)
    model = frozen(learner, params, state)
    model(x)
    assert isinstance(learner.network, Network)
    assert {*model.state_dict()} == {*(f"params.{n}" for n in params), *(f"state.{n}" for n in state)}
