"""Recurrent layers in elementary operations: PyTorch's own have no rule for `vmap`, and on GPUs no second derivative.

r, z, n: reset gate, update gate and candidate of a GRU cell. h: hidden state. c: cell state of an LSTM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from quickstudy.cells import lstm_cell
from quickstudy.errors import ModelError

CellState = tuple[Tensor, ...]
"""(h, c) of an LSTM, (h,) of the others; each (n, width)."""
Step = Callable[[Tensor, Tensor, CellState], CellState]
"""The state after one step, from what input and hidden state give to the gates, (n, gates · width) each."""

_PACKED = (
    "Packed sequences cannot be learned inside an inner loop or over many tasks at once, as each has its own shape. "
    "Give the network padded sequences with a mask as one more channel, 1 where a step is known and 0 where it is "
    "padding, and let it pass over the padding, as quickstudy's model 'lstm' does."
)


def _lstm(from_input: Tensor, from_hidden: Tensor, state: CellState) -> CellState:
    i, f, g, o = (from_input + from_hidden).chunk(4, dim=-1)
    return lstm_cell(i, f, g, o, state[1])


def _gru(from_input: Tensor, from_hidden: Tensor, state: CellState) -> CellState:
    """Gated recurrent unit (Cho et al. 2014); the reset gate acts after the matrix, as in PyTorch and cuDNN."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = from_input.chunk(3, dim=-1), from_hidden.chunk(3, dim=-1)
    z = (z_x + z_h).sigmoid()
    n = (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
    return (n + z * (state[0] - n),)


def _tanh(from_input: Tensor, from_hidden: Tensor, state: CellState) -> CellState:
    return ((from_input + from_hidden).tanh(),)


def _relu(from_input: Tensor, from_hidden: Tensor, state: CellState) -> CellState:
    return ((from_input + from_hidden).relu(),)


def _layer(
    step: Step, x: Tensor, state: CellState, weights: list[Tensor], has_biases: bool, backwards: bool
) -> tuple[Tensor, CellState]:
    """One direction of one layer over x (length, n, features): the hidden states (length, n, width), the last state."""
    by_input, by_hidden, *biases = weights
    input_bias, hidden_bias = biases if has_biases else (None, None)
    turn = -1 if backwards else 1
    hidden: list[Tensor] = []
    for from_input in F.linear(x, by_input, input_bias).unbind()[::turn]:
        state = step(from_input, F.linear(state[0], by_hidden, hidden_bias), state)
        hidden.append(state[0])
    return torch.stack(hidden[::turn]), state


def _sequences(
    step: Step, x: Tensor, first: CellState, weights: Any, has_biases: bool,
    layers: int, both_ways: bool, batch_first: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Every layer and direction: the output, laid out as x, and the last h and c of each, (layers · ways, n, width)."""
    each = 4 if has_biases else 2
    ways = 2 if both_ways else 1
    if len(weights) != each * layers * ways:
        raise ModelError(
            "A recurrent layer that projects its hidden state (proj_size) cannot be learned inside an inner loop or "
            "over many tasks at once. Leave proj_size out, and put an nn.Linear after the layer."
        )
    x = x.transpose(0, 1) if batch_first else x
    last: list[CellState] = []
    for layer in range(layers):
        outputs: list[Tensor] = []
        for way in range(ways):
            at = layer * ways + way
            own = list(weights[each * at : each * (at + 1)])
            output, state = _layer(step, x, tuple(s[at] for s in first), own, has_biases, way == 1)
            outputs.append(output)
            last.append(state)
        x = torch.cat(outputs, dim=-1)
    return (x.transpose(0, 1) if batch_first else x, *(torch.stack(column) for column in zip(*last, strict=True)))


def _layers(step: Step) -> Callable[..., tuple[Tensor, ...]]:
    """What stands in for torch.lstm and its like, which `nn.LSTM` and its like call."""

    def function(
        x: Tensor, first: Any, weights: Any, has_biases: Any, layers: Any, dropout: float, train: bool,
        both_ways: bool = False, batch_first: bool = False,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        if not isinstance(has_biases, bool):  # (data, batch_sizes, state, weights, …)
            raise ModelError(_PACKED)
        first = (first,) if isinstance(first, Tensor) else tuple(first)
        return _sequences(step, x, first, weights, has_biases, layers, both_ways, batch_first)

    return function


def _cell(step: Step) -> Callable[..., Any]:
    """What stands in for torch.lstm_cell and its like, which `nn.LSTMCell` and its like call."""

    def function(
        x: Tensor, first: Any, by_input: Tensor, by_hidden: Tensor,
        input_bias: Tensor | None = None, hidden_bias: Tensor | None = None,
    ) -> Any:  # fmt: skip
        state = (first,) if isinstance(first, Tensor) else tuple(first)
        after = step(F.linear(x, by_input, input_bias), F.linear(state[0], by_hidden, hidden_bias), state)
        return after if len(after) > 1 else after[0]

    return function


def _refuse_packing(*args: Any) -> Tensor:
    raise ModelError(_PACKED)


_ELEMENTARY: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.lstm: _layers(_lstm),
    torch.gru: _layers(_gru),
    torch.rnn_tanh: _layers(_tanh),
    torch.rnn_relu: _layers(_relu),
    torch.lstm_cell: _cell(_lstm),
    torch.gru_cell: _cell(_gru),
    torch.rnn_tanh_cell: _cell(_tanh),
    torch.rnn_relu_cell: _cell(_relu),
    torch._pack_padded_sequence: _refuse_packing,
}


def recurs(module: nn.Module) -> bool:
    """Whether the module has recurrent layers."""
    return any(isinstance(layer, (nn.RNNBase, nn.RNNCellBase)) for layer in module.modules())


class ElementaryCells(TorchFunctionMode):
    """Within it, recurrent layers run in elementary operations where torch's own would fail.

    That is inside the transforms of `torch.func`: `vmap` has no rule for recurrent layers, and cuDNN's have no second
    derivative. Elsewhere torch's own run, which are faster. always: everywhere, for networks that may be differentiated
    twice by other means.
    """

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self._always = always

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _ELEMENTARY and (self._always or _transformed(args)):
            return _ELEMENTARY[function](*args, **(kwargs or {}))
        if function is Tensor.data_ptr and _transformed(args):
            return 0  # recurrent layers on a GPU ask whether their weights lie side by side: these lie nowhere
        return function(*args, **(kwargs or {}))


def _transformed(values: Iterable[Any]) -> bool:
    """Whether a tensor among the arguments is one of a transform of `torch.func`."""
    for value in values:
        if isinstance(value, Tensor):
            if torch._C._functorch.is_functorch_wrapped_tensor(value):
                return True
        elif isinstance(value, (tuple, list)) and _transformed(value):
            return True
    return False
