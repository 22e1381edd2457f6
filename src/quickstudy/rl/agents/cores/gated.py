"""A gated recurrent unit as a memory; over long sequences it has a backward pass of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quickstudy.errors import ModelError
from quickstudy.rl.agents.cores.base import Core, Memory, after
from quickstudy.rl.agents.cores.products import product

_aten = torch.ops.aten


class GatedUnit(Core):
    """A gated recurrent unit (Cho et al. 2014), as PyTorch has it. Memory: 'h' (width,)."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__(features, width)
        self.enter, self.again = nn.Linear(features, 3 * width), nn.Linear(width, 3 * width)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"h": (self.width,)}

    def step(self, z: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        entering = product(z, self.enter.weight, self.enter.bias)
        h = gated(entering, memory["h"], self.again.weight, self.again.bias)
        return h, {"h": h}

    def sequence(self, z: Tensor, memory: Memory, count: Tensor) -> tuple[Tensor, Memory]:
        enter, again, begin = self.enter, self.again, memory["h"]
        h = gated_sequence(z, enter.weight, enter.bias, again.weight, again.bias, begin)
        return h, {"h": after(count, h, begin)}


def gated(entering: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One step of a gated recurrent unit (Cho et al. 2014): (n, width) after h (n, width).

    entering: (n, 3 width), what the input gives to the gates r and z and to the candidate. weight, bias: (3 width,
    width) and (3 width,), of what the state gives to them.
    """
    width = h.shape[-1]
    again = product(h, weight, bias)
    gates = torch.sigmoid(entering[..., : 2 * width] + again[..., : 2 * width])
    r, z = gates.chunk(2, -1)
    candidate = _tanh(entering[..., 2 * width :] + r * again[..., 2 * width :])
    return torch.lerp(candidate, h, z)


def _tanh(x: Tensor) -> Tensor:
    """tanh up to 1e-7, by a logistic function, which PyTorch computes in a fifth of the time."""
    return 2 * torch.sigmoid(2 * x) - 1


def gated_sequence(z: Tensor, enter: Tensor, entering: Tensor, weight: Tensor, bias: Tensor, begin: Tensor) -> Tensor:
    """`gated` over the steps of a sequence z (T, features) from `begin` (width,), a constant: (T, width).

    enter, entering: (3 width, features) and (3 width,), of what an input gives; weight, bias: of what the state gives.
    Differentiable once.
    """
    states: Tensor = _Sequence.apply(z, enter, entering, weight, bias, begin)[0]  # type: ignore[no-untyped-call]
    return states[1:]


class _Sequence(torch.autograd.Function):
    """States (T + 1, …, width), the first that before all steps, and what the backward pass needs; time comes first,
    lanes are in between.

    What inputs give is made here as well: it is large, and so never laid out anew.
    """

    @staticmethod
    def forward(
        z: Tensor, enter: Tensor, entering: Tensor, weight: Tensor, bias: Tensor, begin: Tensor
    ) -> tuple[Tensor, ...]:
        width, lanes = weight.shape[1], z.shape[:-1]
        given = product(z.reshape(-1, z.shape[-1]), enter, entering).view(*lanes, 3 * width)
        states = given.new_empty((len(given) + 1, *lanes[1:], width))
        states[0] = begin
        candidates, again = (torch.empty_like(states[1:]) for _ in range(2))
        gates = given.new_empty((*lanes, 2 * width))
        for t in range(len(given)):
            h = states[t]
            told = product(h.reshape(-1, width), weight, bias).view(*h.shape[:-1], 3 * width)
            torch.add(given[t, ..., : 2 * width], told[..., : 2 * width], out=gates[t]).sigmoid_()
            again[t] = told[..., 2 * width :]
            candidates[t] = _tanh(torch.addcmul(given[t, ..., 2 * width :], gates[t, ..., :width], again[t]))
            torch.lerp(candidates[t], h, gates[t, ..., width:], out=states[t + 1])
        return states, gates, candidates, again

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        z, enter, _, weight, _, _ = inputs
        ctx.save_for_backward(z, enter, weight, *output)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if above is None:
            return (None,) * 6
        z, enter, weight, states, gates, candidates, again = ctx.saved_tensors
        width = weight.shape[1]
        slopes = gates.new_empty(*gates.shape[:-1], 4 * width)  # of the candidate, r, z, and what the state gave to it
        into, of_gates = slopes[..., : 3 * width], slopes[..., width : 3 * width]
        told, transposed = slopes[..., width:], weight.T
        below = torch.zeros_like(above[0])
        for t in range(len(slopes) - 1, -1, -1):
            slope = above[t + 1] + below
            r, keeps = gates[t].chunk(2, -1)
            candidate, of_r, of_z, of_state = slopes[t].chunk(4, -1)
            passed = torch.addcmul(slope, slope, keeps, value=-1)
            _aten.tanh_backward(passed, candidates[t], grad_input=candidate)
            torch.mul(candidate, again[t], out=of_r)
            torch.sub(states[t], candidates[t], out=of_z).mul_(slope)
            _aten.sigmoid_backward(of_gates[t], gates[t], grad_input=of_gates[t])
            torch.mul(candidate, r, out=of_state)
            below = product(told[t].reshape(-1, 3 * width), transposed).view_as(slope).addcmul_(slope, keeps)
        flat, of_told = into.reshape(-1, 3 * width), told.reshape(-1, 3 * width)
        of_input = product(flat, enter.roll(width, 0).T).view_as(z) if ctx.needs_input_grad[0] else None
        of_enter = (flat.T @ z.reshape(-1, z.shape[-1])).roll(-width, 0), flat.sum(0).roll(-width)
        return of_input, *of_enter, of_told.T @ states[:-1].reshape(-1, width), of_told.sum(0), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        if any(axis is not None for axis in in_dims[1:5]):
            raise ModelError("A recurrent agent's weights are the same for all tasks of a batch. Use vectorize='loop'.")
        z, *weights, begin = inputs
        count = info.batch_size
        z = z.movedim(in_dims[0], 1).contiguous() if in_dims[0] is not None else z[:, None].expand(-1, count, -1)
        begin = begin.movedim(in_dims[5], 0) if in_dims[5] is not None else begin.expand(count, -1)
        found: tuple[Tensor, ...] = _Sequence.apply(z, *weights, begin)  # type: ignore[no-untyped-call]
        return found, (1,) * len(found)
