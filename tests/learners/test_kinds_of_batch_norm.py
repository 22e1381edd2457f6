"""Subclasses of BatchNorm keep what their forward does beside normalising, or are refused."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from quickstudy.entries import NORMALISATION, with_prefix
from quickstudy.errors import ModelError
from quickstudy.learners import Network
from quickstudy.learners.network import Norm
from quickstudy.learners.normalise import own_statistics


class Activated(nn.BatchNorm1d):
    """As timm's BatchNormAct2d: what follows is part of it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Doubled(nn.BatchNorm1d):
    """Normalises something else than what enters it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x)


class Forgetful(nn.BatchNorm1d):
    """Asks for averages even where there are none."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - cast(Tensor, self.running_mean)) / cast(Tensor, self.running_var).sqrt()


def network(kind: type[nn.BatchNorm1d], norm: Norm = "running", **options: Any) -> Network:
    torch.manual_seed(0)
    layer = kind(5, **options)
    for value in (layer.running_mean, layer.weight, layer.bias):
        if value is not None:
            nn.init.normal_(value)
    return Network(nn.Sequential(nn.Linear(6, 5), layer, nn.Linear(5, 4)), norm)


@pytest.mark.parametrize("affine", [True, False])
def test_it_answers_as_the_module_does(affine: bool) -> None:
    mine = network(Activated, "given", affine=affine)
    x, params = torch.randn(9, 6), mine.init(torch.Generator())
    params |= with_prefix("network.", dict(mine.module.named_parameters()))
    torch.testing.assert_close(mine(params, x), mine.module.eval()(x))
    batch = network(Activated, "batch", affine=affine)
    assert batch.transductive and not mine.transductive
    params = {name: value for name, value in params.items() if not name.startswith(NORMALISATION)}
    torch.testing.assert_close(batch(params, x), batch.module.train()(x))
    with pytest.raises(ModelError, match="One input by itself"):
        batch(params, x[:1])


def test_what_is_recorded_of_it_is_what_it_normalises_by() -> None:
    mine, x = network(Activated), torch.randn(40, 6)
    params = mine.init(torch.Generator())
    with torch.no_grad(), mine.recording() as moments:
        by_batch = mine(params, x)
    statistics = moments.statistics(torch.float32)
    assert set(statistics) == {NORMALISATION + "1.mean", NORMALISATION + "1.variance"}
    torch.testing.assert_close(mine(params | statistics, x), by_batch)
    assert not torch.allclose(mine(params | statistics, x[:7]), mine(params, x[:7]))


def test_subclasses_of_pytorchs_own_forward_and_tied_ones_are_as_before() -> None:
    class Named(nn.BatchNorm1d):
        pass

    tied = Activated(6)
    mine = Network(nn.Sequential(tied, nn.Linear(6, 6), tied, Named(6)), "given")
    nn.init.normal_(cast(Tensor, tied.running_mean))
    x, params = torch.randn(9, 6), mine.init(torch.Generator())
    params |= with_prefix("network.", dict(mine.module.named_parameters()))
    params |= with_prefix(NORMALISATION, own_statistics(mine.module, mine.layers))
    torch.testing.assert_close(mine(params, x), mine.module.eval()(x))


@pytest.mark.parametrize(("kind", "why"), [(Doubled, "its answers differ"), (Forgetful, "TypeError|AttributeError")])
def test_what_cannot_be_kept_is_refused(kind: type[nn.BatchNorm1d], why: str) -> None:
    with pytest.raises(
        ModelError, match=rf"Layer 1 \({kind.__name__}\) is a BatchNorm with a forward of its own.*{why}"
    ):
        network(kind)
