"""Convolutions that stand for torch's own have the same values and the same derivatives, of every order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_tasks import IMAGES, episodes, generator, random_params
from torch import Tensor, nn

from quickstudy.engine import Engine
from quickstudy.engine.convolutions import convolution
from quickstudy.engine.plan import Plan
from quickstudy.learners import maml

CPU = torch.device("cpu")
CASES: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1 axis, groups": (F.conv1d, (2, 4, 5), (6, 2, 3), {"groups": 2, "padding": 1}),
    "strided": (F.conv2d, (2, 2, 5, 6), (3, 2, 3, 3), {"stride": 2, "padding": 1}),
    "unequal": (F.conv2d, (2, 2, 6, 6), (3, 2, 2, 3), {"stride": (2, 1), "dilation": (1, 2), "padding": (0, 1)}),
    "one number for all axes": (F.conv2d, (2, 2, 5, 5), (3, 2, 3, 3), {"stride": [2], "padding": [1]}),
    "3 axes": (F.conv3d, (1, 2, 3, 4, 3), (2, 2, 2, 2, 2), {}),
    "padding in words": (F.conv2d, (2, 2, 5, 5), (3, 2, 3, 3), {"padding": "same"}),
    "no batch": (F.conv2d, (2, 5, 5), (3, 2, 3, 3), {"padding": 1}),
}


def operands(case: str) -> tuple[Tensor, Tensor, Tensor]:
    _, x, weight, _ = CASES[case]
    return tuple(  # type: ignore[return-value]
        torch.randn(shape, dtype=torch.float64, generator=generator(1)).requires_grad_()
        for shape in (x, weight, weight[:1])
    )


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_those_of_torch(case: str) -> None:
    plain, _, _, options = CASES[case]
    x, weight, bias = operands(case)

    def own(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return convolution(x, weight, bias, **options)

    torch.testing.assert_close(own(x, weight, bias), plain(x, weight, bias, **options))
    assert torch.autograd.gradcheck(own, (x, weight, bias), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(own, (x, weight, bias), check_fwd_over_rev=True)


@pytest.mark.parametrize("order", ["reverse", "forward"])
@pytest.mark.parametrize("bias", [True, False])
def test_meta_gradients_of_many_tasks_at_once_are_those_of_one_after_another(order: Any, bias: bool) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=bias), nn.Tanh(), nn.Conv2d(4, 4, 2, stride=2, groups=2), nn.Tanh(),
        nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip
    learner, batch = maml(module, IMAGES, lr=0.5, steps=2), episodes(IMAGES)
    params = random_params(learner.init(generator()))
    one_by_one, _, _ = Engine(learner, CPU, "loop", metagrad="unrolled").gradients(params, batch)
    engine = Engine(learner, CPU, "vmap", metagrad="recompute").planned(Plan("vmap", order=order))
    at_once, _, _ = engine.gradients(params, batch)
    for name, grad in one_by_one.items():
        torch.testing.assert_close(at_once[name], grad, rtol=1e-9, atol=1e-12)


def test_autocast_lowers_the_precision_as_it_does_torch_s_own() -> None:
    x, weight, bias = (t.detach().float() for t in operands("strided"))
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = (f(x, weight, bias, 2, 1) for f in (convolution, F.conv2d))
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)
