"""The LSTM over sequences: padding is passed over, and its sizes fit the tasks."""

from __future__ import annotations

import pytest
import torch
from small_tasks import classes, numbers
from torch import Tensor, nn

from quickstudy.errors import ConfigError
from quickstudy.models import lstm

VALUES = numbers((6, 3))


def with_mask(x: Tensor, known: Tensor) -> Tensor:
    return torch.cat([x, known.to(x)[..., None]], dim=-1)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_state_is_held_over_padding_wherever_it_stands(depth: int) -> None:
    """Step by step with nn.LSTMCell, holding h and c where nothing is known."""
    torch.manual_seed(0)
    module = lstm(VALUES, head=False, width=4, depth=depth).double()
    x, known = torch.randn(20, 6, 2, dtype=torch.float64), torch.rand(20, 6) < 0.6
    known[0], known[1] = False, True
    cells = []
    for layer in range(depth):
        cell = nn.LSTMCell(2 if layer == 0 else 4, 4).double()
        for name, value in cell.named_parameters():
            value.data = getattr(module.cells, f"{name}_l{layer}").data
        cells.append(cell)
    states = [(x.new_zeros(20, 4), x.new_zeros(20, 4)) for _ in cells]
    for t in range(6):
        value = x[:, t]
        for i, cell in enumerate(cells):
            after = cell(value, states[i])
            states[i] = tuple(torch.where(known[:, t, None], a, b) for a, b in zip(after, states[i], strict=True))
            value = states[i][0]
    torch.testing.assert_close(module(with_mask(x, known)), states[-1][0])
    padded = torch.where(known[..., None], x, 1e3 * torch.randn_like(x))
    assert torch.equal(module(with_mask(padded, known)), module(with_mask(x, known)))


def test_padding_may_stand_on_either_side_and_be_of_any_length() -> None:
    module, x = lstm(VALUES).double(), torch.randn(5, 3, 2, dtype=torch.float64)
    alone = module(with_mask(x, torch.ones(5, 3)))
    nothing = torch.zeros(5, 4, 3, dtype=torch.float64)
    for padded in ([nothing, with_mask(x, torch.ones(5, 3))], [with_mask(x, torch.ones(5, 3)), nothing]):
        torch.testing.assert_close(module(torch.cat(padded, dim=1)), alone)


def test_without_a_mask_every_channel_is_read() -> None:
    module = lstm(VALUES, masked=False, head=False, width=4)
    x = torch.randn(5, 6, 3)
    torch.testing.assert_close(module(x), module.cells(x)[1][0][0])


@pytest.mark.parametrize("target_shape", [(), (1,), (2, 3)])
def test_the_output_has_the_shape_of_the_target(target_shape: tuple[int, ...]) -> None:
    spec = numbers((6, 3), target_shape)
    assert lstm(spec)(torch.randn(5, 6, 3)).shape == (5, *target_shape)
    assert lstm(classes((6, 3), 4))(torch.randn(5, 6, 3)).shape == (5, 4)
    assert lstm(spec, head=False, width=7)(torch.randn(5, 6, 3)).shape == (5, 7)


def test_inputs_that_are_no_sequences_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"takes sequences \(length, channels\).*shape \(1, 28, 28\)"):
        lstm(classes((1, 28, 28), 5))
    with pytest.raises(ConfigError, match="have one channel only"):
        lstm(numbers((6, 1)))
    assert lstm(numbers((6, 1)), masked=False)(torch.zeros(2, 6, 1)).shape == (2, 1)
