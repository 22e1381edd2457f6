"""Which parameters each gradient learner moves, from where, and by how much."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from small_tasks import (
    IMAGES,
    VECTORS,
    classes,
    convolutional,
    episodes,
    generator,
    perceptron,
    random_params,
)
from torch import Tensor, nn

from quickstudy.episode import Examples
from quickstudy.errors import ModelError
from quickstudy.learners import anil, cavia, maml, metasgd
from quickstudy.models import FiLM, WithContext


def test_anil_moves_the_head_by_the_gradient_of_softmax_regression_on_fixed_features() -> None:
    learner, (support, query) = anil(perceptron(VECTORS, 3), VECTORS, lr=0.3, steps=4), episodes(VECTORS, tasks=None)
    params = random_params(learner.init(generator()))

    def features(x):  # type: ignore[no-untyped-def]
        return torch.tanh(F.linear(x, params["network.0.weight"], params["network.0.bias"]))

    weight, bias, z = params["network.2.weight"], params["network.2.bias"], features(support.x)
    for _ in range(4):
        error = ((z @ weight.T + bias).softmax(1) - F.one_hot(support.y, 3)) / len(z)
        weight, bias = weight - 0.3 * error.T @ z, bias - 0.3 * error.sum(0)
    state = learner.adapt(params, support)
    assert [name for name in state if name.startswith("task.")] == ["task.2.weight", "task.2.bias"]
    torch.testing.assert_close(state["task.2.weight"], weight)
    torch.testing.assert_close(learner.predict(params, state, query.x), features(query.x) @ weight.T + bias)


def test_maml_equals_training_a_copy_of_the_module_with_torch() -> None:
    for rule, optimizer in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)):
        module, (support, query) = perceptron(VECTORS, 3), episodes(VECTORS, tasks=None)
        learner = maml(module, VECTORS, lr=0.1, steps=5, rule=rule)  # type: ignore[arg-type]
        params = {f"network.{name}": value.detach().clone() for name, value in module.named_parameters()}
        state, torchs = learner.adapt(params, support), optimizer(module.parameters(), lr=0.1)
        for _ in range(5):
            torchs.zero_grad()
            F.cross_entropy(module(support.x), support.y).backward()
            torchs.step()
        torch.testing.assert_close(learner.predict(params, state, query.x), module(query.x).detach())


def test_meta_sgd_starts_as_maml_with_a_rate_for_every_element() -> None:
    module, episode = perceptron(VECTORS, 3), episodes(VECTORS, tasks=None)
    learner, plain = metasgd(module, VECTORS, lr=0.25), maml(module, VECTORS, lr=0.25)
    params = {name: value.double() for name, value in learner.init(generator()).items()}
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert params[f"inner.lr.{name}"].shape == params[f"network.{name}"].shape
    torch.testing.assert_close(learner.loss(params, episode), plain.loss(params, episode))


@pytest.mark.parametrize("film", [False, True])
def test_cavia_moves_the_context_alone_from_zero(film: bool) -> None:
    if film:
        module: nn.Module = FiLM(perceptron(VECTORS, 3), "1", channels=6, size=2).double()
        name = "context"
    else:
        module, name = WithContext(nn.Linear(7, 3), 2).double(), "context"
    learner, support = cavia(module, VECTORS, lr=2.0, steps=3), episodes(VECTORS, tasks=None).support
    params = random_params(learner.init(generator())) | {f"constant.{name}": torch.zeros(2, dtype=torch.float64)}
    start, end = learner.start(params, support), learner.adapt(params, support)
    assert [n for n in start if n.startswith("task.")] == [f"task.{name}"]
    assert (start[f"task.{name}"] == 0).all()
    context = torch.zeros(2, dtype=torch.float64)
    for _ in range(3):
        context.requires_grad_()
        values = {n.removeprefix("network."): v for n, v in params.items() if n.startswith("network.")}
        output = torch.func.functional_call(module, values | {name: context}, (support.x,))
        (slope,) = torch.autograd.grad(F.cross_entropy(output, support.y), context)
        context = (context - 2.0 * slope).detach()
    torch.testing.assert_close(end[f"task.{name}"], context)
    assert context.abs().min() > 0


def test_a_context_of_planes_beside_an_image() -> None:
    module = WithContext(nn.Conv2d(3, 2, 3), 2)
    module.context += torch.tensor([0.5, -1.0])
    x = torch.randn(4, 1, 5, 5)
    planes = torch.cat([x, torch.full_like(x, 0.5), torch.full_like(x, -1.0)], 1)
    torch.testing.assert_close(module(x), module.module(planes))


def test_film_scales_and_shifts_the_channels_of_a_layer_even_of_a_replaced_one() -> None:
    """BatchNorm layers are replaced inside a Network; the modulation must come with them."""
    for path, layer in (("0", "convolution"), ("1", "batch norm")):
        module = FiLM(convolutional(3), path, channels=3, size=2).double()
        learner = cavia(module, IMAGES, norm="batch")
        params, x = random_params(learner.init(generator())), episodes(IMAGES, tasks=None).query.x
        context = torch.tensor([1.0, -2.0], dtype=torch.float64)
        gamma, beta = (F.linear(context, params["network.modulation.weight"], params["network.modulation.bias"])).chunk(
            2
        )
        h = F.conv2d(x, params["network.module.0.weight"], params["network.module.0.bias"])  # type: ignore[arg-type]
        scale = lambda h: (1 + gamma[:, None, None]) * h + beta[:, None, None]  # noqa: B023, E731
        norm = (params["network.module.1.weight"], params["network.module.1.bias"], True)
        h = F.batch_norm(scale(h) if path == "0" else h, None, None, *norm)
        h = torch.tanh(scale(h) if path == "1" else h).flatten(1)
        wanted = F.linear(h, params["network.module.4.weight"], params["network.module.4.bias"])
        found = learner.network(params, x, {"context": context})
        torch.testing.assert_close(found, wanted, msg=f"FiLM on {layer}")


def test_film_names_the_layers_there_are() -> None:
    with pytest.raises(ModelError, match=r"has no layer 'conv1'\. Its layers are: 0, 1, 2"):
        FiLM(perceptron(VECTORS, 3), "conv1", channels=6)


def test_everything_means_parameters_and_not_buffers() -> None:
    class Shifted(nn.Module):
        shift: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.register_buffer("shift", torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x + self.shift)

    learner = maml(Shifted(), classes((3,), 2), lr=0.5, steps=2)
    params = learner.init(torch.Generator().manual_seed(0))
    support = Examples(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.bool))
    state = learner.adapt(params, support)
    assert sorted(name for name in state if name.startswith("task.")) == ["task.linear.bias", "task.linear.weight"]
