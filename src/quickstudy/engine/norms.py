"""Normalisation whose derivatives are right to every order, where those of torch's fused kernels are not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Standardised(torch.autograd.Function):
    """x over `axes` with mean 0 and variance 1, and 1 / √(variance + eps).

    With y the result, r the second one and M the number of elements of a mean: ∂y/∂x takes g to
    r (g − mean(g) − y mean(g y)) and is its own transpose; ∂r/∂x is −r² y / M. Both sums of a backward pass are then
    taken in one reading of y and g; what PyTorch derives by itself takes three.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
        centred = x - x.mean(axes, keepdim=True)
        scale = (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
        return centred * scale, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.axes = inputs[1]
        ctx.save_for_backward(*output)
        ctx.save_for_forward(*output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        y, scale = ctx.saved_tensors
        of_y, of_scale = grads
        count = math.prod(y.shape[axis] for axis in ctx.axes)
        along = (of_y * y).mean(ctx.axes, keepdim=True) + of_scale * scale / count
        return scale * (of_y - of_y.mean(ctx.axes, keepdim=True) - y * along), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, Tensor]:
        y, scale = ctx.saved_tensors
        along = (tangent * y).mean(ctx.axes, keepdim=True)
        return scale * (tangent - tangent.mean(ctx.axes, keepdim=True) - y * along), -scale.square() * along


def _standardise(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    y: Tensor = _Standardised.apply(x, tuple(axes), eps)[0]  # type: ignore[no-untyped-call]
    return y


def _scale_and_shift(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training or running_mean is not None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    out = _standardise(input, [0, *range(2, input.dim())], eps)
    return _scale_and_shift(out, weight, bias, (-1, *[1] * (input.dim() - 2)))


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if running_mean is not None:
        return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
    out = _standardise(input, range(2, input.dim()), eps)
    return _scale_and_shift(out, weight, bias, (-1, *[1] * (input.dim() - 2)))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    return _scale_and_shift(
        _standardise(input, range(-len(normalized_shape), 0), eps), weight, bias, tuple(normalized_shape)
    )


NORMS: Mapping[Callable[..., Any], Callable[..., Tensor]] = {
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
    F.layer_norm: _layer_norm,
}
"""What stands for torch's own.

Under `vmap` torch differentiates the backward pass of its fused kernels as if the batch's mean and variance were
constants (pytorch/functorch#534): a second-order meta-gradient comes out wrong, without an error. Outside `vmap` the
fused kernels are right, and faster.
"""
