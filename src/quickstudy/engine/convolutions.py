"""Convolutions whose derivatives of every order are convolutions again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_INPUT, _WEIGHT, _OUTPUT = 0, 1, 2
_PLAIN = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class _Geometry(NamedTuple):
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class _Third(torch.autograd.Function):
    """One of (input x, weight w, output y) from the other two: the gradient in it of ⟨conv(x, w), y⟩.

    That form is linear in each of the three, so the derivatives of these three functions are the same functions. What
    PyTorch derives for a gradient's gradient runs group by group instead, and `vmap` makes every task a group.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(one: Tensor, other: Tensor, which: int, shape: torch.Size, geometry: _Geometry) -> Tensor:
        stride, padding, dilation, groups = geometry
        none = [0] * len(stride)
        if which == _OUTPUT:
            return torch.ops.aten.convolution(one, other, None, stride, padding, dilation, False, none, groups)  # type: ignore[no-any-return]
        x, weight = (other.new_empty(shape), one) if which == _INPUT else (one, other.new_empty(shape))
        derivatives = torch.ops.aten.convolution_backward(
            other, x, weight, None, stride, padding, dilation, False, none, groups,
            [which == _INPUT, which == _WEIGHT, False],
        )  # fmt: skip
        return derivatives[which]  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        one, other, ctx.which, _, ctx.geometry = inputs
        ctx.save_for_backward(one, other)
        ctx.save_for_forward(one, other)
        ctx.shape = output.shape

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        known = dict(zip(_others(ctx.which), ctx.saved_tensors, strict=True)) | {ctx.which: above[0]}
        grads = [
            _third(known, sought, known[sought].shape, ctx.geometry) if needed else None
            for sought, needed in zip(_others(ctx.which), ctx.needs_input_grad[:2], strict=True)
        ]
        return (*grads, None, None, None)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        known = dict(zip(_others(ctx.which), ctx.saved_tensors, strict=True))
        parts = [
            _third(known | {index: tangent}, ctx.which, ctx.shape, ctx.geometry)
            for index, tangent in zip(known, tangents[:2], strict=True)
            if tangent is not None
        ]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _others(which: int) -> tuple[int, int]:
    first, second = (index for index in (_INPUT, _WEIGHT, _OUTPUT) if index != which)
    return first, second


def _third(known: dict[int, Tensor], sought: int, shape: torch.Size, geometry: _Geometry) -> Tensor:
    first, second = _others(sought)
    third: Tensor = _Third.apply(known[first], known[second], sought, shape, geometry)  # type: ignore[no-untyped-call]
    return third


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """As torch.nn.functional.conv1d, conv2d and conv3d, for batches; with padding in words it is PyTorch's own."""
    axes = weight.dim() - 2
    if isinstance(padding, str) or input.dim() != weight.dim():
        plain: Tensor = _PLAIN[axes](input, weight, bias, stride, padding, dilation, groups)
        return plain
    kind = input.device.type
    if torch.is_autocast_enabled(kind):  # which knows torch's own only
        dtype = torch.get_autocast_dtype(kind)
        input, weight = _lowered(input, dtype), _lowered(weight, dtype)
        bias = None if bias is None else _lowered(bias, dtype)
    geometry = _Geometry(_each(stride, axes), _each(padding, axes), _each(dilation, axes), groups)
    output = _third({_INPUT: input, _WEIGHT: weight}, _OUTPUT, torch.Size(), geometry)
    return output if bias is None else output + bias.reshape(-1, *[1] * axes)


def _lowered(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value if value.dtype == torch.float64 else value.to(dtype)


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)


CONVOLUTIONS: Mapping[Callable[..., Any], Callable[..., Tensor]] = dict.fromkeys(_PLAIN.values(), convolution)
"""What stands for torch's own."""
