"""Normalisation in elementary operations, where torch's fused kernels cannot be differentiated twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def _standardise(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    variance, mean = torch.var_mean(x, dim=list(axes), correction=0, keepdim=True)
    return (x - mean) * (variance + eps).rsqrt()


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


_ELEMENTARY: Mapping[Callable[..., Any], Callable[..., Tensor]] = {
    F.batch_norm: _batch_norm,
    F.instance_norm: _instance_norm,
    F.layer_norm: _layer_norm,
}


class ElementaryNorms(TorchFunctionMode):
    """Within it, batch, instance and layer normalisation can be differentiated twice under `vmap`.

    There torch differentiates the backward pass of its fused kernels as if the batch's mean and variance were constants
    (pytorch/functorch#534): a second-order meta-gradient comes out wrong, without an error. Outside `vmap` the fused
    kernels are right, and faster.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        replacement: Callable[..., Any] = _ELEMENTARY.get(function, function)
        return replacement(*args, **(kwargs or {}))
