"""Whole numbers that name things reach a network as they are."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.errors import DataError, ShapeError

LARGE = 2**24  # from where float32 does not tell whole numbers apart
LABELS = [i % 20 for i in range(200)]


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(60, 8)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.table(x).mean(1)
        return z


def ids() -> Tensor:
    x = torch.randint(1, 20, (200, 6), generator=torch.Generator().manual_seed(0))
    x[:, 0] = 20 + torch.tensor(LABELS)
    return x


def test_a_network_that_begins_with_an_embedding_learns_from_ids_and_is_asked_about_ids(tmp_path: Path) -> None:
    x, format = ids(), qs.formats.Array(shape=(6,), ids=True)
    config = qs.RunConfig(
        name="x", learner=qs.registry.learners.part("protonet"), ways=3, shots=2, queries=2, iterations=2, meta_batch=2,
        validation_episodes=4, device="cpu", compile="off",
    )  # fmt: skip
    source = qs.tasks.arrays(x, LABELS, format=format)
    run = qs.train(config, module=Bag(), source=source, out=tmp_path / "a", quiet=True)
    assert run.evaluate(episodes=10).mean > 0.5
    model = run.adapt(x[[0, 20, 1, 21]], list("aabb"))
    assert torch.equal(model(x[:5]), model(x[:5].int()))
    assert len(list(model.predict(x[:2]))) == 2
    model.save(tmp_path / "m")
    assert torch.equal(qs.load(tmp_path / "m", module=Bag(), device="cpu")(x[:5]), model(x[:5]))
    with pytest.raises(ShapeError, match="must be whole numbers"):
        model(x[:5].float())


@pytest.mark.parametrize("convert", [lambda x: x, lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.double()])
def test_ids_are_kept_to_the_last_digit_from_whatever_holds_them(convert: Any) -> None:
    x = torch.tensor([[LARGE + 1, 0], [LARGE, 3]])
    stored = qs.formats.Array(shape=(2,), ids=True).store(convert(x)).x
    assert isinstance(stored, Tensor) and stored.dtype == torch.int64 and torch.equal(stored, x)


@pytest.mark.parametrize("x", [[[1.0, 2.5]], [[1, -1]], np.array([[-3]])])
def test_what_is_no_id_is_refused(x: Any) -> None:
    with pytest.raises(DataError, match="example 0 has others"):
        qs.formats.Array(shape=(2,), ids=True).store(x)


def test_whole_numbers_that_become_amounts_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "quickstudy")
    source = qs.tasks.arrays(ids(), LABELS)
    assert r"Array(shape=(6,), ids=True)" in caplog.text
    with pytest.raises(ShapeError, match=r"say so where the tasks are made: .*ids=True"):
        source.spec.format.check(ids(), 1)
    caplog.clear()
    qs.tasks.arrays(ids().float(), LABELS)
    qs.tasks.arrays(ids().to(torch.uint8), LABELS)
    assert not caplog.text
