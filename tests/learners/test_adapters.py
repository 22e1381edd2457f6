"""Adapters of a frozen encoder: nothing at first, the definition in plain PyTorch, and what stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.episode import Examples
from quickstudy.errors import ModelError
from quickstudy.learners.network import Network
from quickstudy.models.adapters import Adapted
from quickstudy.registry import formats, learners, targets
from quickstudy.spec import TaskSpec
from quickstudy.tasks import arrays

SPEC = TaskSpec(formats.make("image", size=9, channels=3), targets.make("classes", ways=2))


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).double()  # fmt: skip


def data() -> Examples:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((6, 3, 9, 9), generator=generator, dtype=torch.float64)
    return Examples(x, torch.tensor([0, 0, 0, 1, 1, 1]), torch.ones(6).bool())


@pytest.mark.parametrize("name", ["tsa", "film"])
def test_at_first_the_encoder_is_what_it_was_and_nearest_means_decide(name: str) -> None:
    module, support = encoder(), data()
    learner = learners[name](module, SPEC, steps=0)
    params = {n: v.double() for n, v in learner.init(torch.Generator().manual_seed(0)).items()}
    plain = learners["protonet"](module, SPEC, distance="cosine", temperature=10.0)
    own = {n: v.double() for n, v in plain.init(torch.Generator().manual_seed(0)).items()}
    params |= {n.replace("network.", "network.module."): v for n, v in own.items() if n.startswith("network.")}
    one, two = (
        one.predict(φ, one.adapt(φ, support), support.x) for one, φ in ((learner, params), (plain, own))
    )  # fmt: skip
    assert torch.allclose(one, two)


def test_a_small_convolution_lies_in_parallel_to_each_larger_one() -> None:
    module = Adapted(encoder(), "tsa", 4).double()
    inner = module.module
    moved = [n for n, p in module.named_parameters() if p.requires_grad]
    assert moved == ["map", "module.0.adapter", "module.2.adapter"]
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p += torch.randn_like(p)
    x = data().x
    assert isinstance(x, Tensor)
    first, second = inner[0], inner[2]
    large = torch.zeros(6, 3, 3, 3).double()
    large[:, :, 1, 1] = first.adapter[:, :, 0, 0]
    h = F.relu(F.conv2d(x, first.weight + large, first.bias, stride=2))
    middle = torch.zeros(6, 3, 3, 3).double()
    middle[:, :, 1, 1] = second.adapter[:, :, 0, 0]
    h = F.relu(F.conv2d(h, second.weight + middle, second.bias, padding=1, groups=2))
    z = inner[4](h).mean((2, 3))
    assert torch.allclose(module(x), z @ module.map.T)


def test_film_scales_and_shifts_the_channels() -> None:
    module = Adapted(encoder(), "film").double()
    inner = module.module
    assert [n for n, p in module.named_parameters() if p.requires_grad] == [f"module.{i}.adapter" for i in (0, 2, 4)]
    x = data().x
    assert isinstance(x, Tensor)
    with torch.no_grad():
        inner[4].adapter += torch.randn(2, 4).double()
    h = F.conv2d(inner[3](inner[2](inner[1](inner[0](x)))), inner[4].weight, inner[4].bias).mean((2, 3))
    assert torch.allclose(module(x), (1 + inner[4].adapter[0]) * h + inner[4].adapter[1])


@pytest.mark.parametrize("name", ["tsa", "film"])
def test_steps_are_descent_on_the_cosines_to_the_class_means(name: str) -> None:
    """Two steps by hand, with autograd on a module."""
    support, steps, lr = data(), 2, 0.05
    learner = learners[name](encoder(), SPEC, steps=steps, lr=lr, rule="sgd")
    params = {n: v.double() for n, v in learner.init(torch.Generator().manual_seed(0)).items()}
    state = learner.adapt(params, support)
    module = Adapted(encoder(), name, 4).double()
    module.load_state_dict({n.removeprefix("network."): v for n, v in params.items() if n.startswith("network.")})
    moved = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(moved, lr)

    def logits() -> Tensor:
        z = F.normalize(module(support.x), dim=1)
        means = torch.stack([z[:3].mean(0), z[3:].mean(0)])
        return 10 * z @ F.normalize(means, dim=1).T

    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(logits(), support.y).backward()
        optimizer.step()
    assert torch.allclose(learner.predict(params, state, support.x), logits(), atol=1e-9)
    kept = learner.predicts_with(params, state)
    assert torch.equal(learner.predict(*kept, support.x), learner.predict(params, state, support.x))
    assert not any(n.startswith("rule.") for n in kept[1])


def test_an_encoder_without_layers_to_adapt_is_refused() -> None:
    with pytest.raises(ModelError, match="no convolution or linear layer"):
        learners["film"](nn.Flatten(), SPEC)


@pytest.mark.parametrize("name", ["tsa", "film"])
def test_a_frozen_encoder_is_fitted_to_tasks_that_its_features_hide(name: str, tmp_path: Path) -> None:
    """Classes differ in a direction that is small beside noise: cosines to means see it once it is scaled up."""
    generator = torch.Generator().manual_seed(0)
    y = [i % 20 for i in range(400)]
    x = torch.randn(400, 6, generator=generator)
    x[:, 0] = 0.15 * (torch.tensor(y) % 2 * 2 - 1) + 0.01 * torch.randn(400, generator=generator)
    source = arrays(x, [f"{'odd' if c % 2 else 'even'} {c}" for c in y])
    means = {}
    for steps in (0, 60):
        config = qs.RunConfig(
            name="a", learner=learners.part(name, steps=steps, lr=0.05), ways=2, shots=8, queries=5, iterations=0,
            validation_episodes=2, device="cpu",
        )  # fmt: skip
        layer = nn.Linear(6, 6, bias=False)
        layer.weight.data = torch.eye(6)
        run = qs.train(config, module=layer, source=source, out=tmp_path / f"{steps}", quiet=True)
        before = {n: v.clone() for n, v in run.params.items()}
        means[steps] = run.evaluate(episodes=60, compare_supports=False).mean
        assert all(torch.equal(v, run.params[n]) for n, v in before.items())
    assert means[60] > means[0] + 0.03
    assert Network(run.module()).frozen  # the encoder's own weights, though the run may be trained on
