"""A user's module as a pure function: weights, inputs, and each policy of batch normalisation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small_tasks import (
    IMAGES,
    VECTORS,
    convolutional,
    episodes,
    examples,
    generator,
    perceptron,
    random_params,
)
from torch import Tensor, nn

from quickstudy.engine import Engine
from quickstudy.entries import trainable
from quickstudy.episode import Episode, Examples
from quickstudy.formats.base import Format
from quickstudy.formats.layout import Leaf
from quickstudy.formats.records import Broken, Stored, all_kept
from quickstudy.learners import Network, finetune, maml, protonet
from quickstudy.learners.given import as_given
from quickstudy.registry import targets
from quickstudy.spec import TaskSpec

CPU = torch.device("cpu")


def batches(count: int = 3) -> list[Episode]:
    return [episodes(IMAGES, tasks=None, seed=seed) for seed in range(count)]


def test_the_module_s_own_weights_are_kept_if_asked_and_drawn_anew_otherwise() -> None:
    module = perceptron(VECTORS, 3)
    kept = Network(as_given(module)).init(generator())
    drawn = Network(module).init(generator())
    for name, value in module.named_parameters():
        assert torch.equal(kept[f"network.{name}"], value)
        assert not torch.equal(drawn[f"network.{name}"], value)
    torch.testing.assert_close(Network(module)(kept, torch.ones(2, 5).double()), module(torch.ones(2, 5).double()))


def test_drawing_weights_leaves_the_global_generator_alone() -> None:
    network, before = Network(perceptron(VECTORS, 3)), torch.get_rng_state()
    network.init(generator())
    assert torch.equal(before, torch.get_rng_state())


def test_drawing_weights_leaves_the_generators_of_accelerators_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    Network(perceptron(VECTORS, 3)).init(generator())
    assert seeded == []


def test_the_shape_of_the_output_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = maml(perceptron(VECTORS, 3), VECTORS)
    monkeypatch.setattr(Network, "init", None)
    assert learner.with_steps(4).at(VECTORS).network.output_shape(VECTORS.format) == (3,)


def test_the_user_s_module_is_never_changed() -> None:
    module = convolutional(4)
    module.train()
    before = copy.deepcopy(module.state_dict())
    learner = protonet(module, IMAGES)
    params = random_params(learner.init(generator()))
    Engine(learner, CPU, "loop").gradients(params, episodes(IMAGES))
    learner.predict(params, learner.adapt(params, batches()[0].support), batches()[0].query.x)
    learner.calibrate(params, batches())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module.training
    assert type(module[1]) is nn.BatchNorm2d


def test_calibrated_means_are_those_of_update_bn_and_variances_are_the_population_s() -> None:
    """torch averages the variances of batches; ours is that of all inputs pooled, as Wu & Johnson (2021) advise."""
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten()).double()
    learner = protonet(module, IMAGES)
    params = learner.init(generator())
    inputs = [part.x for episode in batches() for part in episode]
    found = learner.calibrate({n: p.double() for n, p in params.items()}, batches())
    torch.optim.swa_utils.update_bn(inputs, module)  # type: ignore[arg-type]
    torch.testing.assert_close(found["statistics.network.0.mean"], module[0].running_mean)
    pooled = torch.cat(inputs).var(dim=(0, 2, 3), correction=0)  # type: ignore[arg-type]
    torch.testing.assert_close(found["statistics.network.0.variance"], pooled)
    x = batches()[0].query.x
    assert isinstance(x, Tensor)
    wanted = (x - module[0].running_mean) / (pooled + 1e-5).sqrt()
    torch.testing.assert_close(learner.network(found, x), wanted.flatten(1))


def test_pretraining_learners_calibrate_on_pooled_batches_without_support() -> None:
    learner = finetune(convolutional(4), IMAGES, classes=3, steps=1)
    params = random_params(learner.init(generator()))
    nothing = Examples(torch.zeros(0, 1, 4, 4).double(), torch.zeros(0).long(), torch.zeros(0).bool())
    pooled = [Episode(nothing, episode.query) for episode in batches()]
    found = learner.calibrate(params, pooled)
    wanted = torch.cat([learner.network.module[0].double()(e.query.x) for e in pooled])
    assert found["statistics.network.1.mean"].isfinite().all()
    x = torch.cat([e.query.x for e in pooled])  # type: ignore[arg-type]
    hidden = nn.functional.conv2d(x, params["network.0.weight"], params["network.0.bias"])
    assert hidden.shape == wanted.shape
    torch.testing.assert_close(found["statistics.network.1.mean"], hidden.mean((0, 2, 3)))


def test_statistics_are_never_trained_and_batch_policy_has_none() -> None:
    running, batch = protonet(convolutional(4), IMAGES), protonet(convolutional(4), IMAGES, norm="batch")
    params = random_params(running.init(generator()))
    assert {n for n in running.calibrate(params, batches()) if not trainable(n)} == {
        "statistics.network.1.mean",
        "statistics.network.1.variance",
    }
    assert batch.calibrate(params, batches()).keys() == params.keys()
    assert batch.transductive
    assert not running.transductive


def test_per_step_uses_the_slot_of_the_step() -> None:
    """Moving one slot of scales, shifts or statistics changes the step it belongs to, and no other."""
    learner = maml(convolutional(3), IMAGES, lr=0.1, steps=2, norm="per_step")
    params, support = random_params(learner.init(generator())), batches()[0].support
    calibrated = learner.calibrate(params, batches())
    names = ["network.1.weight", "network.1.bias", "statistics.network.1.mean", "statistics.network.1.variance"]
    assert all(calibrated[name].shape == (3, 3) for name in names)
    states = [learner.with_steps(k).adapt(calibrated, support) for k in range(4)]
    assert not any("task.1." in name for name in states[0])
    for name in names:
        for slot in range(3):
            moved = calibrated | {name: calibrated[name].index_add(0, torch.tensor([slot]), torch.ones(1, 3).double())}
            changed = [
                not torch.equal(learner.predict(calibrated, state, support.x), learner.predict(moved, state, support.x))
                for state in states
            ]
            assert changed == [slot == min(step, 2) for step in range(4)]


def test_per_step_statistics_are_those_of_the_network_at_that_step() -> None:
    learner = maml(convolutional(3), IMAGES, lr=0.5, steps=2, norm="per_step")
    params, episode = random_params(learner.init(generator())), batches()[0]
    found = learner.calibrate(params, [episode])["statistics.network.1.mean"]
    for step in range(3):
        state = learner.with_steps(step).adapt(params, episode.support)
        inputs = [episode.support.x] + ([episode.query.x] if step == 2 else [])
        hidden = nn.functional.conv2d(torch.cat(inputs), state["task.0.weight"], state["task.0.bias"])  # type: ignore[arg-type]
        torch.testing.assert_close(found[step], hidden.mean((0, 2, 3)))


class Bag(nn.Module):
    """Tokens and their weights to a vector: an input of more than one tensor."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embedding, self.linear = nn.Embedding(9, 4), nn.Linear(4, outputs)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        output: Tensor = self.linear((self.embedding(x["tokens"]) * x["weights"][..., None]).mean(1))
        return output


@dataclass(frozen=True, kw_only=True)
class Bags(Format):
    """Tokens and their weights."""

    @property
    def layout(self) -> Mapping[str, Leaf]:
        return {"tokens": Leaf((5,), torch.int64), "weights": Leaf((5,), torch.float64)}

    def store(self, records: Any, broken: Broken = "refuse") -> Stored:
        return all_kept(records)


@pytest.mark.parametrize("learner", [maml, protonet])
@pytest.mark.parametrize("mode", ["vmap", "loop"])
def test_inputs_may_be_a_dict_of_tensors(learner: Any, mode: Any) -> None:
    spec = TaskSpec(Bags(), targets.make("classes", ways=3))

    def part(seed: int) -> Examples:
        x, y, mask = examples(VECTORS, 6, seed, tasks=2)
        assert isinstance(x, Tensor)
        return Examples({"tokens": (x.abs() * 4).long().clamp(max=8), "weights": x}, y, mask)

    built, batch = learner(Bag(3).double(), spec), Episode(part(0), part(1))
    params = random_params(built.init(generator()))
    grads, losses, _ = Engine(built, CPU, mode).gradients(params, batch)
    assert losses.isfinite().all()
    assert all(grad.abs().max() > 0 for grad in grads.values())
    assert Engine(built, CPU, mode).predictions(params, batch).shape == (2, 6, 3)


def test_hooks_and_sharing_survive_where_batch_norm_is_replaced() -> None:
    shared = nn.BatchNorm1d(4)
    shared.register_forward_hook(lambda layer, inputs, output: output + 100.0)
    module = nn.Sequential(nn.Linear(5, 4), shared, nn.Linear(4, 4), shared)
    network = Network(as_given(module))
    params, x = network.init(generator()), torch.randn(6, 5)
    torch.testing.assert_close(network(params, x), module(x))
    assert network.layers == ("1",)
    assert sum(name.endswith("mean") for name in protonet(module, VECTORS).calibrate(params, _single())) == 1


def _single() -> list[Episode]:
    parts = [part._replace(x=part.x.float()) for part in episodes(VECTORS, tasks=None)]  # type: ignore[union-attr]
    return [Episode(*parts)]
