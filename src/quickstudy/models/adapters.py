"""Small parts beside the layers of a frozen encoder, by which a task changes what it computes."""

from __future__ import annotations

import copy
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quickstudy.errors import ModelError

Adapters = Literal["tsa", "film"]
_NAME = "adapter"


class Adapted(nn.Module):
    """A copy of `module` whose own parameters are frozen, with parts that change nothing at first.

    'tsa': a convolution of 1 x 1 in parallel to each convolution of more, and a linear map of the embedding (n, D),
    which is `size` = D numbers wide (Li, Liu & Bilen 2022). 'film': a scale and a shift of each channel that a
    convolution gives: h ← (1 + γ) h + β (Perez et al. 2018, as of a frozen network in Requeima et al. 2019). Where a
    network has no such convolutions, its linear layers take their place.
    """

    def __init__(self, module: nn.Module, how: Adapters, size: int = 0) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        every = list(self.module.modules())
        chosen: list[nn.Conv2d | nn.Linear] = [one for one in every if isinstance(one, nn.Conv2d) and _fits(one, how)]
        chosen = chosen or [one for one in every if isinstance(one, nn.Linear)]
        if not chosen:
            raise ModelError(
                "The encoder has no convolution or linear layer that could be adapted. Give one that has, or choose a "
                "learner that leaves it as it is, such as protonet."
            )
        for layer in chosen:  # a parameter of the layer itself, so that copies of it have their own
            weight = layer.weight
            shape = (2, weight.shape[0]) if how == "film" else (*weight.shape[:2], *[1] * (weight.dim() - 2))
            setattr(layer, _NAME, nn.Parameter(weight.new_zeros(shape)))
            layer.register_forward_hook(_modulated if how == "film" else _parallel)
        like = chosen[0].weight
        self.map = nn.Parameter(torch.eye(size, dtype=like.dtype, device=like.device)) if how == "tsa" else None

    def forward(self, x: Tensor) -> Tensor:
        z = cast(Tensor, self.module(x))
        return z if self.map is None else z.flatten(1) @ self.map.T


def _fits(layer: nn.Conv2d, how: Adapters) -> bool:
    """Whether a layer takes an adapter: those of 1 x 1 have no need of another one in parallel, and those of even
    kernels have no middle at which it would lie."""
    sizes = layer.kernel_size
    middle = all(size % 2 for size in sizes) and not isinstance(layer.padding, str)
    return how == "film" or (max(sizes) > 1 and middle)


def _modulated(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    scale, shift = (row.reshape(-1, *[1] * (output.dim() - 2)) for row in cast(Tensor, layer.adapter))
    changed: Tensor = (1 + scale) * output + shift
    return changed


def _parallel(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """With what the small convolution gives at the middle of each window of the large one."""
    x, weight = inputs[0], cast(Tensor, layer.adapter)
    if isinstance(layer, nn.Linear):
        return output + F.linear(x, weight)
    assert isinstance(layer, nn.Conv2d)
    padding = cast(tuple[int, ...], layer.padding)
    ends = [padding[i] - layer.dilation[i] * (layer.kernel_size[i] // 2) for i in range(2)]
    if any(ends):
        x = F.pad(x, [ends[1], ends[1], ends[0], ends[0]])
    return output + F.conv2d(x, weight, stride=layer.stride, groups=layer.groups)
