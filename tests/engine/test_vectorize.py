"""vmap, a loop and finite differences agree, through normalisation layers too; 'auto', precisions and devices."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from small_tasks import IMAGES, VECTORS, convolutional, episodes, generator, perceptron, random_params
from torch import nn

from quickstudy.engine import Engine, resolve_device
from quickstudy.engine.plan import Plan
from quickstudy.engine.substitutes import Substitutes
from quickstudy.episode import stack, task
from quickstudy.errors import ConfigError
from quickstudy.learners import maml, protonet

CPU = torch.device("cpu")
NORMS = {
    "batch": nn.BatchNorm2d(4),
    "batch without affine": nn.BatchNorm2d(4, affine=False),
    "group": nn.GroupNorm(2, 4),
    "instance": nn.InstanceNorm2d(4, affine=True),
    "layer": nn.LayerNorm([4, 2, 2]),
}


@pytest.mark.parametrize("name", NORMS)
def test_second_order_gradients_through_normalisation_are_those_of_finite_differences(name: str) -> None:
    """Under vmap, torch's own rules for batch, instance and layer normalisation leave terms out."""
    module = nn.Sequential(nn.Conv2d(1, 4, 3), NORMS[name], nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)).double()
    learner, batch = maml(module, IMAGES, norm="batch", lr=1.0, steps=2), episodes(IMAGES, tasks=2)
    params = random_params(learner.init(generator()))
    vmap, _, _ = Engine(learner, CPU, "vmap").gradients(params, batch)
    loop, _, _ = Engine(learner, CPU, "loop").gradients(params, batch)
    eps, along = 1e-6, torch.randn_like(params["network.0.weight"])

    def loss(sign: float) -> float:
        moved = params | {"network.0.weight": params["network.0.weight"] + sign * eps * along}
        return sum(float(learner.loss(moved, task(batch, i))) for i in range(2)) / 2

    wanted = (loss(1) - loss(-1)) / (2 * eps)
    for grads in (vmap, loop):
        assert float((grads["network.0.weight"] * along).sum()) == pytest.approx(wanted, rel=1e-5)
    for parameter, grad in vmap.items():
        torch.testing.assert_close(grad, loop[parameter])


@pytest.mark.parametrize("name", NORMS)
def test_elementary_normalisation_equals_the_fused_kernels(name: str) -> None:
    layer, x = NORMS[name].float(), torch.randn(5, 4, 2, 2)
    with Substitutes():
        elementary = layer(x)
    torch.testing.assert_close(elementary, layer(x))
    flat = nn.BatchNorm1d(4).eval()
    flat(x[..., 0])
    with Substitutes():
        by_statistics = flat(x[..., 0])
    torch.testing.assert_close(by_statistics, flat(x[..., 0]))


def test_the_batch_of_tasks_gives_the_mean_gradient_and_the_losses_of_its_tasks() -> None:
    learner, batch = maml(perceptron(VECTORS, 3), VECTORS, lr=0.1, steps=2), episodes(VECTORS, tasks=3)
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU)
    grads, losses, metrics = engine.gradients(params, batch)
    alone = [engine.gradients(params, stack([task(batch, i)])) for i in range(3)]
    for name, grad in grads.items():
        torch.testing.assert_close(grad, sum(one[0][name] for one in alone) / 3)
    torch.testing.assert_close(losses, torch.cat([one[1] for one in alone]))
    torch.testing.assert_close(metrics, torch.cat([one[2] for one in alone]))


def test_auto_loops_over_convolutions_on_a_cpu_and_vectorises_the_rest() -> None:
    dense, convolved = protonet(perceptron(VECTORS, 4), VECTORS), protonet(convolutional(4), IMAGES)
    assert Engine(dense, CPU).mode == "vmap"
    assert Engine(convolved, CPU).mode == "loop"
    assert Engine(convolved, torch.device("cuda")).mode == "vmap"
    assert Engine(convolved, CPU, "vmap").mode == "vmap"
    assert Engine(dense, CPU, "loop").mode == "loop"


def test_predictions_use_the_evaluation_s_number_of_steps() -> None:
    learner, batch = maml(perceptron(VECTORS, 3), VECTORS, lr=0.1, steps=1, eval_steps=4), episodes(VECTORS)
    params = random_params(learner.init(generator()))
    four = Engine(learner.with_steps(4), CPU).predictions(params, batch)
    torch.testing.assert_close(Engine(learner, CPU).predictions(params, batch), four)


def test_bfloat16_gives_nearly_the_gradient_of_float32_for_an_embedding_learner() -> None:
    learner, batch = protonet(perceptron(VECTORS, 4).float(), VECTORS), episodes(VECTORS)
    batch = type(batch)(*(part._replace(x=part.x.float()) for part in batch))
    params = {name: value.float() for name, value in random_params(learner.init(generator())).items()}
    exact, losses, _ = Engine(learner, CPU).gradients(params, batch)
    rough, rough_losses, _ = Engine(learner, CPU, precision="bfloat16").gradients(params, batch)
    for name in exact:
        assert rough[name].dtype == torch.float32
    one, other = (torch.cat([g[n].flatten() for n in exact]) for g in (exact, rough))
    assert 1e-6 < (one - other).norm() / one.norm() < 0.05
    assert torch.cosine_similarity(one, other, dim=0) > 0.998
    assert (losses - rough_losses).abs().max() < 0.05


@pytest.mark.parametrize("vectorize", ["vmap", "loop"])
@pytest.mark.parametrize("estimator", ["unrolled", "recompute"])
def test_bfloat16_through_an_inner_loop_gives_nearly_the_gradient_of_float32(vectorize: Any, estimator: str) -> None:
    learner, batch = maml(perceptron(VECTORS, 3).float(), VECTORS, lr=0.1, steps=2), episodes(VECTORS)
    batch = type(batch)(*(part._replace(x=part.x.float()) for part in batch))
    params = {name: value.float() for name, value in random_params(learner.init(generator())).items()}
    exact = Engine(learner, CPU, vectorize, metagrad=estimator).gradients(params, batch)[0]
    rough = Engine(learner, CPU, vectorize, precision="bfloat16", metagrad=estimator).gradients(params, batch)[0]
    assert {grad.dtype for grad in rough.values()} == {torch.float32}
    one, other = (torch.cat([g[n].flatten() for n in exact]) for g in (exact, rough))
    assert 1e-6 < (one - other).norm() / one.norm() < 0.05


class Reader(nn.Module):
    """A transformer over a sequence of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 4)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation="gelu", batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.head(self.layer(self.embed(x[..., None])).mean(1)))


@pytest.mark.parametrize("vectorize", ["vmap", "loop"])
@pytest.mark.parametrize(("estimator", "order"), [("unrolled", "reverse"), ("recompute", "forward")])
def test_a_transformer_is_differentiated_twice(vectorize: Any, estimator: str, order: Any) -> None:
    """Fused attention has no second derivative: the meta-gradient is checked against finite differences."""
    learner, batch, eps = maml(Reader().double(), VECTORS, lr=0.1, steps=2), episodes(VECTORS), 1e-6
    params = random_params(learner.init(generator()))
    engine = Engine(learner, CPU, vectorize, metagrad=estimator).planned(Plan(vectorize, order=order))
    grads = engine.gradients(params, batch)[0]
    along = {n: torch.randn(p.shape, generator=generator(1), dtype=p.dtype) for n, p in params.items()}
    ends = [
        engine.gradients({n: p + sign * eps * along[n] for n, p in params.items()}, batch)[1].mean() for sign in (1, -1)
    ]
    slope = sum((grads[n] * along[n]).sum() for n in grads)
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * eps), rtol=1e-6, atol=1e-9)


def test_a_device_that_is_not_there_is_refused_with_the_way_out() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match="'gpu7' is not a device"):
        resolve_device("gpu7")
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ConfigError, match=f"'{absent}' was asked for.*Use --device auto or --device cpu"):
        resolve_device(absent)
    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match="'mps' was asked for"):
            resolve_device("mps")
