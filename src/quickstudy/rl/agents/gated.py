"""A gated recurrent unit over long sequences, with a backward pass of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickstudy.errors import ModelError


def gated(entering: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One step of a gated recurrent unit (Cho et al. 2014): (n, width) after h (n, width).

    entering: (n, 3 width), what the input gives to the gates r and z and to the candidate. weight, bias: (3 width,
    width) and (3 width,), of what the state gives to them.
    """
    width = h.shape[-1]
    again = torch.nn.functional.linear(h, weight, bias)
    gates = torch.sigmoid(entering[..., : 2 * width] + again[..., : 2 * width])
    r, z = gates.chunk(2, -1)
    candidate = torch.tanh(entering[..., 2 * width :] + r * again[..., 2 * width :])
    return torch.lerp(candidate, h, z)


def gated_sequence(entering: Tensor, weight: Tensor, bias: Tensor, stays: Tensor, begin: Tensor) -> Tensor:
    """`gated` over the steps of a sequence from `begin` (width,), a constant: (T, width) for entering (T, 3 width).

    stays: (T,) of 0 and 1, what the state is multiplied by before each step. Differentiable once.
    """
    states: Tensor = _Sequence.apply(entering, weight, bias, stays, begin)[0]  # type: ignore[no-untyped-call]
    return states


class _Sequence(torch.autograd.Function):
    """States (T, …, width), and what the backward pass needs; time comes first, lanes are in between."""

    @staticmethod
    def forward(entering: Tensor, weight: Tensor, bias: Tensor, stays: Tensor, begin: Tensor) -> tuple[Tensor, ...]:
        count, width = len(entering), weight.shape[1]
        states = entering.new_empty((count, *entering.shape[1:-1], width))
        before = torch.empty_like(states)
        gates = entering.new_empty((count, *entering.shape[1:-1], 2 * width))
        candidates, again = torch.empty_like(states), torch.empty_like(states)
        transposed = weight.T
        for t in range(count):
            h = before[t]
            torch.mul(states[t - 1] if t else begin, stays[t][..., None], out=h)
            told = torch.addmm(bias, h.reshape(-1, width), transposed).view(*h.shape[:-1], 3 * width)
            torch.add(entering[t, ..., : 2 * width], told[..., : 2 * width], out=gates[t]).sigmoid_()
            again[t] = told[..., 2 * width :]
            torch.addcmul(entering[t, ..., 2 * width :], gates[t, ..., :width], again[t], out=candidates[t]).tanh_()
            torch.lerp(candidates[t], h, gates[t, ..., width:], out=states[t])
        return states, before, gates, candidates, again

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, weight, _, stays, _ = inputs
        ctx.save_for_backward(weight, stays, *output[1:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if above is None:
            return None, None, None, None, None
        weight, stays, before, gates, candidates, again = ctx.saved_tensors
        width = weight.shape[1]
        told = gates.new_empty(*gates.shape[:-1], 3 * width)
        entering = torch.empty_like(told)
        below = torch.zeros_like(above[0])
        for t in range(len(above) - 1, -1, -1):
            slope = above[t] + below
            r, z = gates[t].chunk(2, -1)
            candidate = torch.ops.aten.tanh_backward(torch.addcmul(slope, slope, z, value=-1), candidates[t])
            entering[t, ..., width : 2 * width] = slope * (before[t] - candidates[t])
            entering[t, ..., :width] = candidate * again[t]
            entering[t, ..., : 2 * width] = torch.ops.aten.sigmoid_backward(entering[t, ..., : 2 * width], gates[t])
            entering[t, ..., 2 * width :] = candidate
            told[t, ..., : 2 * width] = entering[t, ..., : 2 * width]
            torch.mul(candidate, r, out=told[t, ..., 2 * width :])
            below = torch.addmm((slope * z).view(-1, width), told[t].view(-1, 3 * width), weight).view_as(slope)
            below *= stays[t][..., None]
        flat = told.view(-1, 3 * width)
        return entering, flat.T @ before.reshape(-1, width), flat.sum(0), None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *given: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        if in_dims[1] is not None or in_dims[2] is not None:
            raise ModelError("A recurrent agent's weights are the same for all tasks of a batch. Use vectorize='loop'.")
        entering, weight, bias, stays, begin = given
        count = info.batch_size
        entering = (
            entering.movedim(in_dims[0], 1) if in_dims[0] is not None else entering[:, None].expand(-1, count, -1)
        )
        stays = stays.movedim(in_dims[3], 1) if in_dims[3] is not None else stays[:, None].expand(-1, count)
        begin = begin.movedim(in_dims[4], 0) if in_dims[4] is not None else begin.expand(count, -1)
        found: tuple[Tensor, ...] = _Sequence.apply(  # type: ignore[no-untyped-call]
            entering.contiguous(), weight, bias, stays, begin
        )
        return found, (1,) * len(found)
