"""Bags of runs of tokens: against a count of runs by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from quickstudy.errors import ConfigError
from quickstudy.models import ngrams
from quickstudy.registry import formats, targets
from quickstudy.spec import TaskSpec

SPEC = TaskSpec(formats.make("text", length=8), targets.make("classes", ways=3))


def padded(*texts: list[int], length: int = 8) -> dict[str, Tensor]:
    ids = torch.tensor([[*text, *[0] * (length - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts])
    return {"input_ids": ids, "attention_mask": mask}


def encoder(**options: Any) -> Any:
    return ngrams(SPEC, False, **{"shortest": 1, "longest": 2, "size": 1 << 14, "width": 4, **options}).double()


def test_it_is_the_cosine_of_weighted_counts_of_runs() -> None:
    """Without collisions the inner product of two sums is the number of runs that are alike, times their weights."""
    made = encoder()
    with torch.no_grad():
        made.share.fill_(-1e3)  # the map says nothing
    x = padded([5, 6, 7], [6, 7, 8, 8])
    z = made(**x)
    # Runs: 5 6 7 56 67, and 6 7 8 (twice) 67 78 88; alike are 6, 7 and 67.
    expected = 3 / (5**0.5 * (1 + 1 + 4 + 1 + 1 + 1) ** 0.5)
    torch.testing.assert_close(float(z[0] @ z[1]), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(2).double())
    hashed, there = made.runs(ids=x["input_ids"], mask=x["attention_mask"])
    with torch.no_grad():
        made.weights[hashed[0, there[0]] % len(made.weights)] = 2.0  # all runs of the first, seven are the second's own
    other = made(**x)
    e = torch.tensor(2.0).double().exp()
    torch.testing.assert_close(
        other[0] @ other[1], 3 * e**2 / ((5 * e**2).sqrt() * (3 * e**2 + 4 + 2).sqrt()), rtol=1e-9, atol=1e-9
    )


def test_padding_and_neighbours_change_nothing() -> None:
    made = encoder()
    alone = made(**padded([5, 6, 7], length=3))
    among = made(**padded([1], [5, 6, 7], [2] * 8, []))
    torch.testing.assert_close(among[1], alone[0])
    assert bool(among.isfinite().all())
    x = padded([5, 6, 7])
    torch.testing.assert_close(made(x["input_ids"] + 9 * (1 - x["attention_mask"]), x["attention_mask"]), alone)


def test_order_matters_within_runs_alone() -> None:
    bag, pairs = encoder(longest=1), encoder()
    x = padded([5, 6, 7], [7, 6, 5])
    assert torch.equal(*bag(**x)) and not torch.allclose(*pairs(**x))


def test_gradients_of_the_second_order_are_right_and_vmap_is_the_loop() -> None:
    made, x = encoder(size=16, weights=32, width=3), padded([1, 2, 3], [4, 2, 3])
    params = {name: value.detach() + 0.1 * torch.randn_like(value) for name, value in made.named_parameters()}

    def output(*values: Tensor) -> Tensor:
        return functional_call(made, dict(zip(params, values, strict=True)), (), x)  # type: ignore[no-any-return]

    values = tuple(value.requires_grad_() for value in params.values())
    assert torch.autograd.gradcheck(output, values) and torch.autograd.gradgradcheck(output, values)
    stacked = {name: torch.stack([value, 1.1 * value]).detach() for name, value in params.items()}
    both = vmap(lambda p: functional_call(made, p, (), x))(stacked)
    for i in range(2):
        one = functional_call(made, {name: value[i] for name, value in stacked.items()}, (), x)
        torch.testing.assert_close(both[i], one)


def test_it_takes_texts_alone() -> None:
    with pytest.raises(ConfigError, match="takes texts"):
        ngrams(TaskSpec(formats.make("array", shape=(3,)), targets.make("classes", ways=3)))
    with pytest.raises(ConfigError, match="shortest=3 is longer"):
        ngrams(SPEC, shortest=3, longest=2)
    assert ngrams(SPEC)(**padded([1, 2])).shape == (1, 3)
